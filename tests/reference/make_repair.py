"""What repair without training gives back to the demo network, in PyTorch: pruned, calibrated on some images, judged on others.

Every third image (in sorted order) calibrates, without its label; the other two thirds judge. Weights of Conv2d and Linear are
pruned, biases are not. Two ways of repair:
  kept    the network as trained: running mean and variance of every BatchNorm are estimated anew, all calibration images at once
  folded  BatchNorm folded into the convolutions: layer after layer, inputs from the pruned network, every output channel is scaled and
          shifted so that its mean and deviation over the calibration images are those of the dense network (scale within 0.2..5);
          the classifier is only shifted
Needs: torch==2.15.0 timm==1.0.31 numpy==2.4.6 pillow==13.0.0.
Reads `assets/digits/` and `assets/digits.pth`, which `assets/train_digits.py` writes. Writes `digits_repair.json` beside this file.
"""
import copy, json, pathlib
import numpy as np, timm, torch, torch.nn.utils.prune as prune
from PIL import Image
from torch.nn.utils.fusion import fuse_conv_bn_eval

HERE = pathlib.Path(__file__).parent
ASSETS = HERE.parent.parent / "assets"
FILES = sorted((ASSETS / "digits").glob("*/*.png"))
x = torch.from_numpy((np.stack([np.asarray(Image.open(f)) for f in FILES]).astype(np.float32) / 255 - 0.5) / 0.5)[:, None].repeat(1, 3, 1, 1)
y = torch.tensor([int(f.parent.name) for f in FILES])
cal = torch.arange(len(x)) % 3 == 0
torch.set_grad_enabled(False)
net = timm.create_model("mobilenetv4_conv_small", num_classes=10)
net.load_state_dict(torch.load(ASSETS / "digits.pth"))
net.eval()


def layers(model):
    return [m for m in model.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]


def logits(model, images):
    return torch.cat([model(b) for b in images.split(60)])


def lamp(w):
    f = w.double().pow(2).flatten(); v, i = f.sort(stable=True)
    o = torch.empty_like(f); o[i] = v / v.flip(0).cumsum(0).flip(0).clamp_min(1e-300)
    return o.view_as(w)


def apply(model, method, amount):
    ls = layers(model)
    if method == "layer-wise":
        for m in ls: prune.l1_unstructured(m, "weight", amount=amount)
    elif method == "global":
        prune.global_unstructured([(m, "weight") for m in ls], prune.L1Unstructured, amount=amount)
    else:
        s = torch.cat([lamp(m.weight).flatten() for m in ls]); k = round(amount * len(s))
        gone = torch.zeros(len(s), dtype=torch.bool); gone[s.argsort(stable=True)[:k]] = True
        for m, g in zip(ls, gone.split([m.weight.numel() for m in ls])):
            prune.custom_from_mask(m, "weight", ~g.view_as(m.weight))
    for m in ls: prune.remove(m, "weight")
    return model


def reestimate(model):
    model = copy.deepcopy(model)
    for m in model.modules():
        if isinstance(m, torch.nn.modules.batchnorm._BatchNorm):
            m.reset_running_stats(); m.momentum = None; m.train()
    model(x[cal]); return model.eval()


def fold(model):
    """Every BatchNorm into the convolution before it; its activation stays."""
    model = copy.deepcopy(model)
    pairs = []; last = [None]
    def note(m, i, o): 
        if isinstance(m, torch.nn.Conv2d): last[0] = m
        else: pairs.append((last[0], m))
    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.modules.batchnorm._BatchNorm))]
    model(x[:1])
    for h in hooks: h.remove()
    for conv, bn in pairs:
        fused = fuse_conv_bn_eval(conv, bn); conv.weight = fused.weight; conv.bias = fused.bias
        bn.reset_running_stats(); bn.weight.fill_(1); bn.bias.zero_(); bn.eps = 0.0
    return model.eval()


def match(pruned, dense):
    pruned = copy.deepcopy(pruned)
    want = {}
    hooks = [m.register_forward_hook(lambda m, i, o, n=n: want.__setitem__(n, o)) for n, m in dense.named_modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    dense(x[cal])
    for h in hooks: h.remove()
    def repair(m, i, o, n):
        dims = (0, 2, 3) if o.dim() == 4 else (0,); shape = (1, -1, 1, 1)[: o.dim()] if o.dim() == 4 else (1, -1)
        md, sd = want[n].mean(dims), want[n].std(dims, unbiased=False); mp, sp = o.mean(dims), o.std(dims, unbiased=False)
        a = (sd / sp.clamp_min(1e-12)).clamp(0.2, 5)
        a = torch.where((sp < 1e-6) | (sd < 1e-6) | torch.tensor(o.dim() == 2), torch.ones_like(a), a)
        b = md - a * mp
        m.weight.mul_(a.view(-1, *[1] * (m.weight.dim() - 1)))
        m.bias = torch.nn.Parameter((m.bias if m.bias is not None else torch.zeros_like(a)) * a + b)
        return o * a.view(shape) + b.view(shape)
    hooks = [m.register_forward_hook(lambda m, i, o, n=n: repair(m, i, o, n)) for n, m in pruned.named_modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    pruned(x[cal])
    for h in hooks: h.remove()
    return pruned


def judge(model, dense):
    p = logits(model, x[~cal])
    return {"top1": float((p.argmax(1) == y[~cal]).float().mean()), "agreement": float((p.argmax(1) == dense.argmax(1)).float().mean()),
            "mean_cosine": float(torch.nn.functional.cosine_similarity(p, dense).mean())}


dense = logits(net, x[~cal]); folded = fold(net)
assert (logits(folded, x[~cal]) - dense).abs().max() < 1e-3
rows = []
for method, amounts in (("layer-wise", (0.3, 0.4, 0.5, 0.6, 0.7)), ("global", (0.5, 0.6, 0.7, 0.8)), ("lamp", (0.5, 0.6, 0.7, 0.8, 0.9))):
    for amount in amounts:
        for form, base in (("kept", net), ("folded", folded)):
            p = apply(copy.deepcopy(base), method, amount)
            r = reestimate(p) if form == "kept" else match(p, folded)
            rows.append({"method": method, "amount": amount, "form": form, "before": judge(p, dense), "after": judge(r, dense)})
            print(method, amount, form, {k: round(v, 4) for k, v in rows[-1]["before"].items()}, {k: round(v, 4) for k, v in rows[-1]["after"].items()}, flush=True)
json.dump({"calibration": int(cal.sum()), "judged": int((~cal).sum()), "rows": rows}, open(HERE / "digits_repair.json", "w"), indent=1)
