//! How the amount is shared among parameters, and things of which there is one for every method that is compared.

/// How elements are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Each parameter on its own: PyTorch's `l1_unstructured`.
    LayerWise,
    /// All parameters of the scope together: `global_unstructured` with `L1Unstructured`.
    Global,
    /// All together by w² / Σ of the w² of the parameter that are at least as large (Lee et al. 2021, LAMP): the largest of every
    /// parameter stays.
    Lamp,
    /// All together by |w| / ‖W‖₂ of the parameter.
    Norm,
    /// Density of a parameter proportional to the sum of its dimensions over their product, Erdős-Rényi-Kernel (Evci et al. 2020).
    Erk,
    /// The first convolution stays dense, the last linear layer keeps at least a fifth, the others share the rest equally (Gale et
    /// al. 2019).
    #[serde(rename = "uniform+")]
    UniformPlus,
}

impl Method {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] = [Self::LayerWise, Self::Global, Self::Lamp, Self::Norm, Self::Erk, Self::UniformPlus];

    /// Those that are shown side by side.
    pub const PAIR: [Self; 2] = [Self::LayerWise, Self::Global];

    /// What it does, and when it is good with the paper that it is from, where there is one: two sentences.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Self::LayerWise => {
                "Every parameter loses the same share, its smallest magnitudes. \
                 Keeps every layer alive, but small layers suffer first; the baseline of Han et al. 2015."
            }
            Self::Global => {
                "The smallest magnitudes of the whole scope go, wherever they are. \
                 Good where layers have weights of like size; it can empty one whose weights are small (Frankle and Carbin 2019)."
            }
            Self::Lamp => {
                "Each weight squared is divided by the sum of those squares of its layer that are no smaller, and the smallest go. \
                 Good at high amounts; no layer is emptied before all others (LAMP, Lee et al. 2021)."
            }
            Self::Norm => {
                "Magnitudes are divided by the L2 norm of their layer, and the smallest of the whole scope go. \
                 Good where layers differ in scale, as with BatchNorm folded in; a plainer relative of LAMP."
            }
            Self::Erk => {
                "Erdős-Rényi-Kernel: small and narrow layers keep more, by the sum of their dimensions over the product. \
                 Good where magnitudes mislead, for it looks at shapes alone (Evci et al. 2020)."
            }
            Self::UniformPlus => {
                "Like layer-wise, but the first convolution stays whole and the last linear layer keeps at least a fifth. \
                 A careful choice at moderate amounts; it cannot reach the highest (Gale et al. 2019)."
            }
        }
    }

    /// Whether one cut is found for the whole scope, rather than a number for every parameter.
    #[must_use]
    pub fn has_common_cut(self) -> bool {
        matches!(self, Self::Global | Self::Lamp | Self::Norm)
    }

    /// As on screen and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LayerWise => "layer-wise",
            Self::Global => "global",
            Self::Lamp => "lamp",
            Self::Norm => "norm",
            Self::Erk => "erk",
            Self::UniformPlus => "uniform+",
        }
    }
}

/// One `T` for every method that is compared, in the order in which they are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct PerMethod<T>(Vec<(Method, T)>);

impl<T> PerMethod<T> {
    /// What `make` makes for each of `methods`, in their order.
    pub fn new(methods: &[Method], mut make: impl FnMut(Method) -> T) -> Self {
        Self(methods.iter().map(|&method| (method, make(method))).collect())
    }

    /// As [`PerMethod::new`], up to the first error.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn try_new<E>(methods: &[Method], mut make: impl FnMut(Method) -> Result<T, E>) -> Result<Self, E> {
        methods.iter().map(|&method| Ok((method, make(method)?))).collect::<Result<_, E>>().map(Self)
    }

    /// That of `method`; `None` where it is not compared.
    #[must_use]
    pub fn of(&self, method: Method) -> Option<&T> {
        self.0.iter().find(|(known, _)| *known == method).map(|(_, one)| one)
    }

    /// As [`PerMethod::of`], to be changed.
    pub fn of_mut(&mut self, method: Method) -> Option<&mut T> {
        self.0.iter_mut().find(|(known, _)| *known == method).map(|(_, one)| one)
    }

    /// All of them with their methods.
    pub fn iter(&self) -> impl Iterator<Item = (Method, &T)> {
        self.0.iter().map(|(method, one)| (*method, one))
    }
}

impl<T> PerMethod<Option<T>> {
    /// That of `method`; `None` where there is none, or it is not compared.
    #[must_use]
    pub fn given(&self, method: Method) -> Option<&T> {
        self.of(method)?.as_ref()
    }
}

impl<T> Default for PerMethod<T> {
    /// Of no method.
    fn default() -> Self {
        Self(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_that_is_compared_has_its_own() {
        let mut names = PerMethod::new(&Method::PAIR, Method::name);
        assert_eq!(names.of(Method::Global), Some(&"global"));
        *names.of_mut(Method::LayerWise).unwrap() = "each";
        assert_eq!(names.iter().collect::<Vec<_>>(), [(Method::LayerWise, &"each"), (Method::Global, &"global")]);
        let one = PerMethod::new(&[Method::Global], |_| 1);
        assert_eq!((one.of(Method::LayerWise), one.of(Method::Global)), (None, Some(&1)));
        let refused = PerMethod::try_new(&Method::PAIR, |method| if method == Method::Global { Err(method) } else { Ok(()) });
        assert_eq!(refused, Err(Method::Global));
    }
}
