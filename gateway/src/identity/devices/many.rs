//! Many devices at once: all of them, or none.

use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::{Device, DeviceChange, DeviceError, Devices, NewDevice};
use crate::audit::reason;

/// Devices that nothing stands against; nobody else changes the list while this lives.
pub(crate) struct Admitted<'a> {
    registry: &'a Devices,
    devices: Vec<Arc<Device>>,
    _change: MutexGuard<'a, ()>,
}

impl Devices {
    /// Checks devices as [`Devices::add`] would one after the other; keeps none yet.
    ///
    /// # Errors
    /// [`DeviceError`] with the place in the list.
    pub(crate) async fn admit_all(
        &self,
        wanted: &[NewDevice<'_>],
    ) -> Result<Admitted<'_>, (usize, DeviceError)> {
        let change = self.change.lock().await;
        let mut all = self.list();
        let before = all.len();
        for (index, new) in wanted.iter().enumerate() {
            let device = self.admit(&all, new).map_err(|error| (index, error))?;
            all.push(Arc::new(device));
        }
        Ok(Admitted {
            registry: self,
            devices: all.split_off(before),
            _change: change,
        })
    }
}

impl Admitted<'_> {
    /// Lists the devices as they would be.
    pub(crate) fn devices(&self) -> &[Arc<Device>] {
        &self.devices
    }

    /// Keeps them all.
    ///
    /// # Errors
    /// [`DeviceError`]; none was kept then.
    pub(crate) async fn commit(self) -> Result<Vec<Arc<Device>>, DeviceError> {
        for device in &self.devices {
            let record = self.registry.record(device, reason::DEVICE_IMPORTED, None);
            record.await?;
        }
        let rows = self.devices.iter().map(|d| d.row()).collect();
        self.registry.store.put_devices(rows).await?;
        for device in &self.devices {
            let mut all = self.registry.all.write();
            all.insert(device.id, Arc::clone(device));
            drop(all);
            self.registry.tell(DeviceChange::Added(device.id));
        }
        Ok(self.devices)
    }
}
