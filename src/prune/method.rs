//! How the amount is shared among parameters, and things of which there is one for every method that is compared.

/// How elements are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Each parameter on its own: PyTorch's `l1_unstructured`.
    LayerWise,
    /// All parameters of the scope together: `global_unstructured` with `L1Unstructured`.
    Global,
}

impl Method {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::LayerWise, Self::Global];

    /// The one that this one is compared with.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::LayerWise => Self::Global,
            Self::Global => Self::LayerWise,
        }
    }

    /// As on screen and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LayerWise => "layer-wise",
            Self::Global => "global",
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
        let mut names = PerMethod::new(&Method::ALL, Method::name);
        assert_eq!(names.of(Method::Global), Some(&"global"));
        *names.of_mut(Method::LayerWise).unwrap() = "each";
        assert_eq!(names.iter().collect::<Vec<_>>(), [(Method::LayerWise, &"each"), (Method::Global, &"global")]);
        let one = PerMethod::new(&[Method::Global], |_| 1);
        assert_eq!((one.of(Method::LayerWise), one.of(Method::Global)), (None, Some(&1)));
        let refused = PerMethod::try_new(&Method::ALL, |method| if method == Method::Global { Err(method) } else { Ok(()) });
        assert_eq!(refused, Err(Method::Global));
    }
}
