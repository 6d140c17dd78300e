//! stub
#[derive(Debug, Clone, Copy)]
pub enum DeviceChoice { Auto, Gpu, Cpu }
#[derive(Debug, Clone)]
pub struct ComputeDevice { pub name: String, pub is_gpu: bool }
impl ComputeDevice { pub fn open(_: DeviceChoice) -> Result<Self, std::io::Error> { Ok(Self { name: "CPU".into(), is_gpu: false }) } }
