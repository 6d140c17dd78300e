//! Opening the device that computes: a GPU through wgpu, or the CPU.
//!
//! What runs on it is the business of others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use burn::cubecl::Device as CubeDevice;
use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::wgpu::wgpu::{Backends, DeviceType, Instance, InstanceDescriptor};
use burn::tensor::{Device, DeviceKind};
use thiserror::Error;

use crate::panics;

/// Which device the user asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A real GPU when there is one, otherwise the CPU: a software adapter is many times slower than the CPU's own code.
    #[default]
    Auto,
    /// A GPU, software adapters included; an error when there is none.
    Gpu,
    /// The CPU.
    Cpu,
}

/// Why no device could be opened.
#[derive(Clone, Debug, Error)]
pub enum AdapterError {
    /// No Vulkan, Metal, Direct3D 12 or OpenGL driver offers an adapter.
    #[error(
        "no GPU adapter was found: no Vulkan, Metal, Direct3D 12 or OpenGL driver offers one. Choose the CPU (--device cpu), or install a driver \
         (on Debian and Ubuntu, mesa-vulkan-drivers)"
    )]
    NoAdapter,
    /// There is an adapter, and it cannot be used.
    #[error("the GPU cannot be used: {reason}. Choose the CPU (--device cpu), or update the GPU's driver")]
    Unusable {
        /// What the driver or the runtime said.
        reason: String,
    },
}

/// An opened device. Cloning shares it.
#[derive(Clone, Debug)]
pub struct ComputeDevice {
    /// Burn's handle.
    pub device: Device,
    /// The adapter's name as its driver gives it, such as `NVIDIA RTX 4070`, or `CPU`.
    pub name: String,
    /// Whether tensors lie on a wgpu adapter.
    pub is_gpu: bool,
    /// Whether that adapter is software, such as Mesa's llvmpipe. False for the CPU.
    pub is_software: bool,
    /// Why [`DeviceChoice::Auto`] did not take a GPU that is there.
    pub note: Option<String>,
}

/// The GPU of this process. `CubeCL` sets up a runtime once and refuses a second time.
static GPU: Mutex<Option<ComputeDevice>> = Mutex::new(None);

impl ComputeDevice {
    /// Opens the device that `choice` asks for. The same GPU is handed out again when it is opened again.
    ///
    /// # Errors
    ///
    /// [`AdapterError`], with [`DeviceChoice::Gpu`] alone: there is no adapter, or it cannot be used.
    pub fn open(choice: DeviceChoice) -> Result<Self, AdapterError> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::cpu(None)),
            DeviceChoice::Gpu => Self::gpu(),
            DeviceChoice::Auto => match has_hardware() {
                Ok(true) => match Self::gpu() {
                    Ok(gpu) if !gpu.is_software => Ok(gpu),
                    Ok(gpu) => Ok(Self::cpu(Some(format!("{} is a software adapter, slower than the CPU", gpu.name)))),
                    Err(error) => Ok(Self::cpu(Some(error.to_string()))),
                },
                Ok(false) => Ok(Self::cpu(None)),
                Err(error) => Ok(Self::cpu(Some(error.to_string()))),
            },
        }
    }

    fn cpu(note: Option<String>) -> Self {
        Self { device: Device::flex(), name: "CPU".to_owned(), is_gpu: false, is_software: false, note }
    }

    fn gpu() -> Result<Self, AdapterError> {
        let mut opened = GPU.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gpu) = &*opened {
            return Ok(gpu.clone());
        }
        if !has_adapter()? {
            return Err(AdapterError::NoAdapter);
        }
        let (device, setup) = init()?;
        let info = setup.adapter.get_info();
        let gpu = Self { device, name: info.name, is_gpu: true, is_software: info.device_type == DeviceType::Cpu, note: None };
        *opened = Some(gpu.clone());
        Ok(gpu)
    }
}

/// Whether Vulkan, Metal or Direct3D 12 offers an adapter that is not software. OpenGL is not asked: a GPU that has nothing better
/// is slower than the CPU, and can still be asked for by [`DeviceChoice::Gpu`].
fn has_hardware() -> Result<bool, AdapterError> {
    guarded(|| {
        let backends = Backends::PRIMARY;
        let instance = Instance::new(InstanceDescriptor { backends, ..InstanceDescriptor::new_without_display_handle() });
        let adapters = burn::cubecl::future::block_on(instance.enumerate_adapters(backends));
        Ok(adapters.iter().any(|adapter| adapter.get_info().device_type != DeviceType::Cpu))
    })
}

/// Whether the graphics interface that `CubeCL` would settle on offers any adapter.
fn has_adapter() -> Result<bool, AdapterError> {
    guarded(|| Ok(CubeDevice::enumerate_all().iter().any(|device| matches!(device, CubeDevice::Wgpu(_)))))
}

fn init() -> Result<(Device, WgpuSetup), AdapterError> {
    guarded(|| {
        let options = Device::wgpu_options().device_kind(DeviceKind::DefaultDevice);
        options.init_with_setup().map_err(|error| AdapterError::Unusable { reason: error.to_string() })
    })
}

/// Runs `action`; a panic inside a driver's or the runtime's code becomes an error.
fn guarded<T>(action: impl FnOnce() -> Result<T, AdapterError>) -> Result<T, AdapterError> {
    catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|panic| Err(AdapterError::Unusable { reason: panics::text(&*panic) }))
}

/// The adapter for tests that need one, a software one will do; `None` where such a test is to be skipped. Where `CI` is set, it must be
/// there.
#[cfg(test)]
pub(crate) fn adapter_for_tests() -> Option<ComputeDevice> {
    match ComputeDevice::open(DeviceChoice::Gpu) {
        Ok(device) => Some(device),
        Err(error) if std::env::var_os("CI").is_some() => panic!("CI needs an adapter: {error}"),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}
