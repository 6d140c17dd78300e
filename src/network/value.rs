//! Values that flow through a network: floats on the device, everything else on the host.
//!
//! Floats are float32 whatever the file says; small constants stay on the host until a device operation wants them, and
//! floats without elements never reach the device, which does not expect them.

use std::sync::{Arc, OnceLock};

use burn::Tensor;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Dispatch, DispatchDevice, DispatchTensor, DispatchTensorKind};
use burn::tensor::{Device, Shape, TensorData};

use super::array::{Array, ArrayData};
use super::fault::{Checked, Fault, fault};
use crate::onnx::Dtype;

/// Highest rank that is handed to the device.
const MAX_RANK: usize = 16;

/// One value.
#[expect(clippy::large_enum_variant, reason = "a device tensor is moved about, never kept in numbers")]
#[derive(Debug, Clone)]
pub(super) enum Value {
    Float(Floats),
    Int(Ints),
}

/// Integers and bools, on the host. `data` holds what `dtype` can hold; bools are 0 and 1.
#[derive(Debug, Clone)]
pub(super) struct Ints {
    pub(super) shape: Vec<usize>,
    pub(super) dtype: Dtype,
    pub(super) data: Arc<Vec<i64>>,
}

/// Floats, on the host or on the device.
#[derive(Debug, Clone)]
pub(super) struct Floats {
    pub(super) shape: Vec<usize>,
    pub(super) dtype: Dtype,
    storage: Storage,
}

#[expect(clippy::large_enum_variant, reason = "a device tensor is moved about, never kept in numbers")]
#[derive(Debug, Clone)]
enum Storage {
    /// The elements, and their copy on the device once it was wanted, as a flat tensor.
    Host(Arc<Vec<f32>>, Arc<OnceLock<DispatchTensor>>),
    /// Shaped as the value; a scalar has one dimension.
    Device(DispatchTensor),
}

/// Elements of a value that the host reads.
pub(crate) enum Elements {
    Host(Arc<Vec<f32>>),
    /// Of the CPU backend, one after the other.
    Flex(FlexTensor),
}

impl std::ops::Deref for Elements {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Host(data) => data,
            Self::Flex(tensor) => tensor.as_slice().unwrap_or_default(),
        }
    }
}

/// Results of host operators with more elements than this go to the device.
const MAX_HOST: usize = 1 << 14;

/// The shape that the device knows a value by.
fn device_shape(shape: &[usize]) -> Shape {
    if shape.is_empty() { Shape::from(vec![1]) } else { Shape::from(shape.to_vec()) }
}

impl Ints {
    pub(super) fn new(shape: Vec<usize>, data: Vec<i64>) -> Self {
        Self::typed(shape, Dtype::I64, data)
    }

    pub(super) fn bools(shape: Vec<usize>, data: Vec<i64>) -> Self {
        Self::typed(shape, Dtype::Bool, data)
    }

    pub(super) fn typed(shape: Vec<usize>, dtype: Dtype, data: Vec<i64>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Self { shape, dtype, data: Arc::new(data) }
    }

    /// As floats, on the host.
    pub(super) fn to_floats(&self, dtype: Dtype) -> Floats {
        Floats::host(self.shape.clone(), dtype, self.data.iter().map(|&v| v as f32).collect())
    }
}

impl Floats {
    pub(super) fn host(shape: Vec<usize>, dtype: Dtype, data: Vec<f32>) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Self { shape, dtype, storage: Storage::Host(Arc::new(data), Arc::default()) }
    }

    /// A value without elements: `shape` has a zero in it.
    pub(super) fn empty(shape: Vec<usize>, dtype: Dtype) -> Self {
        Self::host(shape, dtype, Vec::new())
    }

    /// `tensor` holds as many elements as `shape`, in its order; where it is shaped otherwise it is reshaped.
    pub(super) fn on_device(shape: Vec<usize>, dtype: Dtype, tensor: DispatchTensor) -> Self {
        let wanted = device_shape(&shape);
        let tensor = if burn::backend::TensorMetadata::shape(&tensor) == wanted { tensor } else { Dispatch::float_reshape(tensor, wanted) };
        Self { shape, dtype, storage: Storage::Device(tensor) }
    }

    /// The same elements, meant as another type.
    pub(super) fn marked(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }

    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    pub(super) fn is_on_host(&self) -> bool {
        matches!(self.storage, Storage::Host(..))
    }

    /// The one element, where the value has one and it is on the host.
    pub(super) fn host_scalar(&self) -> Option<f32> {
        match &self.storage {
            Storage::Host(data, _) if data.len() == 1 => data.first().copied(),
            _ => None,
        }
    }

    /// The elements, read back from the device where they are there.
    pub(super) fn to_host(&self) -> Checked<Arc<Vec<f32>>> {
        match &self.storage {
            Storage::Host(data, _) => Ok(Arc::clone(data)),
            Storage::Device(tensor) => {
                let flat = Dispatch::float_reshape(tensor.clone(), Shape::from(vec![self.elements()]));
                let data = Tensor::<1>::from_dispatch(flat).try_into_data().map_err(|e| Fault(format!("the device failed: {e}")))?;
                let data =
                    data.try_into_vec::<f32>().map_err(|e| Fault(format!("the device returned something else than floats: {e:?}")))?;
                if data.len() != self.elements() {
                    return fault!("the device returned {} elements instead of {}", data.len(), self.elements());
                }
                Ok(Arc::new(data))
            }
        }
    }

    /// The elements, flat, where they lie on a GPU.
    pub(super) fn on_gpu(&self) -> Option<Tensor<1>> {
        match &self.storage {
            Storage::Device(tensor) if matches!(tensor.kind, DispatchTensorKind::Cube(_)) => {
                Some(Tensor::from_dispatch(Dispatch::float_reshape(tensor.clone(), Shape::from(vec![self.elements()]))))
            }
            _ => None,
        }
    }

    /// The elements where the host can read them: as they are where that is possible, else copied.
    pub(super) fn read(&self) -> Checked<Elements> {
        if let Storage::Device(tensor) = &self.storage
            && let DispatchTensorKind::Flex(tensor) = &tensor.kind
            && tensor.as_float().as_slice::<f32>().is_some_and(|data| data.len() == self.elements())
        {
            return Ok(Elements::Flex(tensor.as_float().clone()));
        }
        self.to_host().map(Elements::Host)
    }

    /// The memory of the elements, where the host can have it and nobody else does.
    pub(super) fn into_buffer(self) -> Option<Vec<f32>> {
        match self.storage {
            Storage::Host(data, _) => Arc::try_unwrap(data).ok(),
            Storage::Device(tensor) => match tensor.kind {
                DispatchTensorKind::Flex(tensor) => {
                    let tensor = tensor.float();
                    if !tensor.is_unique() || tensor.as_slice::<f32>().is_none() {
                        return None;
                    }
                    tensor.into_data().try_into_vec().ok()
                }
                DispatchTensorKind::Cube(_) => None,
            },
        }
    }

    /// The value on the device, in its shape (a scalar as one dimension of 1).
    pub(super) fn to_device(&self, device: &Device) -> Checked<DispatchTensor> {
        if self.elements() == 0 {
            return fault!("a value of shape {:?} has no elements", self.shape);
        }
        if self.rank() > MAX_RANK {
            return fault!("a value has {} dimensions, more than {MAX_RANK}", self.rank());
        }
        match &self.storage {
            Storage::Device(tensor) => Ok(tensor.clone()),
            Storage::Host(data, uploaded) => {
                let flat = uploaded.get_or_init(|| upload(data.to_vec(), device)).clone();
                Ok(Dispatch::float_reshape(flat, device_shape(&self.shape)))
            }
        }
    }

    /// [`Self::to_device`] that gives up this reference, so that the device may reuse the memory.
    pub(super) fn into_device(self, device: &Device) -> Checked<DispatchTensor> {
        match self.storage {
            Storage::Device(tensor) => Ok(tensor),
            Storage::Host(..) => self.to_device(device),
        }
    }

    /// The value on the device with this shape of as many elements.
    pub(super) fn shaped(&self, device: &Device, shape: &[usize]) -> Checked<DispatchTensor> {
        if shape.iter().product::<usize>() != self.elements() {
            return fault!("a value of shape {:?} does not fit into {shape:?}", self.shape);
        }
        if shape.len() > MAX_RANK {
            return fault!("a value has {} dimensions, more than {MAX_RANK}", shape.len());
        }
        let tensor = self.to_device(device)?;
        Ok(if shape == self.shape { tensor } else { Dispatch::float_reshape(tensor, device_shape(shape)) })
    }

    /// The same elements in another shape.
    pub(super) fn reshaped(self, shape: Vec<usize>) -> Checked<Self> {
        if shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)) != Some(self.elements()) {
            return fault!("{:?} cannot be reshaped to {shape:?}", self.shape);
        }
        match self.storage {
            Storage::Host(..) => Ok(Self { shape, ..self }),
            Storage::Device(_) if shape.len() > MAX_RANK => fault!("a value has {} dimensions, more than {MAX_RANK}", shape.len()),
            Storage::Device(tensor) => Ok(Self::on_device(shape, self.dtype, tensor)),
        }
    }
}

/// Whether this is the CPU backend, whose elements the host reads where they lie.
pub(super) fn is_host(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

/// A flat tensor on the device.
pub(super) fn upload(data: Vec<f32>, device: &Device) -> DispatchTensor {
    let length = data.len();
    Dispatch::float_from_data(TensorData::new(data, [length]), device.as_dispatch())
}

impl Value {
    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::Float(v) => &v.shape,
            Self::Int(v) => &v.shape,
        }
    }

    /// Number of its elements.
    pub(super) fn elements(&self) -> u64 {
        self.shape().iter().product::<usize>() as u64
    }

    /// Bytes of its elements as they are held here.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Float(v) => v.elements() * size_of::<f32>(),
            Self::Int(v) => v.data.len() * size_of::<i64>(),
        }
    }

    pub(super) fn dtype(&self) -> Dtype {
        match self {
            Self::Float(v) => v.dtype,
            Self::Int(v) => v.dtype,
        }
    }

    /// As floats, wherever they are.
    pub(super) fn into_floats(self) -> Floats {
        match self {
            Self::Float(v) => v,
            Self::Int(v) => v.to_floats(Dtype::F32),
        }
    }

    /// The same elements in another shape.
    pub(super) fn reshaped(self, shape: Vec<usize>) -> Checked<Self> {
        match self {
            Self::Float(v) => Ok(v.reshaped(shape)?.into()),
            Self::Int(v) => {
                if shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)) != Some(v.data.len()) {
                    return fault!("{:?} cannot be reshaped to {shape:?}", v.shape);
                }
                Ok(Ints { shape, ..v }.into())
            }
        }
    }

    /// Integers that are held as floats, as quantised values are, become integers on the host.
    pub(super) fn with_ints_on_host(self) -> Checked<Self> {
        match self {
            Self::Float(v) if !v.dtype.is_float() => {
                let data = v.to_host()?.iter().map(|&x| x as i64).collect();
                Ok(Ints::typed(v.shape, v.dtype, data).into())
            }
            value => Ok(value),
        }
    }

    /// Large floats that an operator left on the host go back to the device, where the next one is faster.
    pub(super) fn with_floats_on_device(self, device: &Device) -> Checked<Self> {
        match self {
            Self::Float(v) if v.is_on_host() && v.elements() > MAX_HOST && v.rank() <= MAX_RANK => {
                let data = v.to_host()?.to_vec();
                Ok(Floats::on_device(v.shape, v.dtype, upload(data, device)).into())
            }
            value => Ok(value),
        }
    }

    /// Takes an array in. Floats with elements go to the device.
    pub(super) fn from_array(array: &Array, device: &Device) -> Checked<Self> {
        if !array.is_whole() {
            return fault!("its number of elements is not the product of its shape {:?}", array.shape);
        }
        let shape = array.shape.clone();
        Ok(match &array.data {
            ArrayData::F32(v) if v.is_empty() => Floats::empty(shape, array.dtype).into(),
            ArrayData::F32(v) if shape.len() > MAX_RANK => Floats::host(shape, array.dtype, v.clone()).into(),
            ArrayData::F32(v) => Floats::on_device(shape, array.dtype, upload(v.clone(), device)).into(),
            ArrayData::I64(v) => Ints::typed(shape, array.dtype, v.clone()).into(),
            ArrayData::Bool(v) => Ints::bools(shape, v.iter().map(|&b| i64::from(b)).collect()).into(),
        })
    }

    /// Reads the value back.
    pub(super) fn to_array(&self) -> Checked<Array> {
        Ok(match self.clone().with_ints_on_host()? {
            Self::Float(v) => Array { shape: v.shape.clone(), dtype: v.dtype, data: ArrayData::F32(Arc::unwrap_or_clone(v.to_host()?)) },
            Self::Int(v) if v.dtype == Dtype::Bool => Array::bool(v.shape.clone(), v.data.iter().map(|&b| b != 0).collect()),
            Self::Int(v) => Array { shape: v.shape.clone(), dtype: v.dtype, data: ArrayData::I64(v.data.to_vec()) },
        })
    }
}

impl From<Floats> for Value {
    fn from(v: Floats) -> Self {
        Self::Float(v)
    }
}

impl From<Ints> for Value {
    fn from(v: Ints) -> Self {
        Self::Int(v)
    }
}
