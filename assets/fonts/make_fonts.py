"""Make the window's two fonts from Inter (Debian package fonts-inter, version 4): fewer scripts, tabular figures.

The window's text library applies no OpenType features, so the feature `tnum` (figures of one width) is written into the
character map. Scripts that are left out come from the system's fonts. Needs: fonttools, and the package fonts-inter.
"""
import pathlib

from fontTools import subset
from fontTools.ttLib import TTFont

HERE = pathlib.Path(__file__).parent
SOURCE = pathlib.Path("/usr/share/fonts/opentype/inter")
UNICODES = [*range(0x20, 0x250), *range(0x370, 0x530), *range(0x2000, 0x2070), *range(0x20A0, 0x20C0), *range(0x2190, 0x2400), *range(0x25A0, 0x2600), 0x2713, 0x2717]


def tabular(font):
    """Map every digit and sign that has a tabular form to that form."""
    table = font["GSUB"].table
    chosen = {i for record in table.FeatureList.FeatureRecord if record.FeatureTag == "tnum" for i in record.Feature.LookupListIndex}
    forms = {}
    for index in chosen:
        for sub in table.LookupList.Lookup[index].SubTable:
            forms.update(getattr(getattr(sub, "ExtSubTable", sub), "mapping", {}))
    for part in font["cmap"].tables:
        for code, glyph in part.cmap.items():
            part.cmap[code] = forms.get(glyph, glyph)


def main():
    for weight in ["Regular", "SemiBold"]:
        font = TTFont(SOURCE / f"Inter-{weight}.otf")
        tabular(font)
        options = subset.Options(layout_features=["kern"], name_IDs=["*"], notdef_outline=True, hinting=False)
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=UNICODES)
        subsetter.subset(font)
        digits = [font.getBestCmap()[ord(c)] for c in "0123456789"]
        width = max(font["hmtx"][glyph][0] for glyph in digits)  # the heavier font's differ by a thousandth
        for glyph in digits:
            font["hmtx"][glyph] = (width, font["hmtx"][glyph][1])
        font.save(HERE / f"Inter-{weight}.otf")


if __name__ == "__main__":
    main()
