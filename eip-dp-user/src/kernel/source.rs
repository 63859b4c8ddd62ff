//! Where the maps come from: their pins, or an object that was loaded.

use std::os::fd::AsFd;

use aya::{
    Ebpf, Pod,
    maps::{Map, MapData, MapError},
};

use super::{Pins, PlaneError, chain, kernel_maps::broken, mapped::Mapped, os_error, with_cure};

/// The maps of one gateway, by name.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// As they are pinned.
    Pins(&'a Pins),
    /// As they are pinned, or are about to be.
    Moving(&'a Pins),
    /// As they were loaded, pinned or not.
    Object(&'a Ebpf),
}

impl Source<'_> {
    /// A map, whatever it is.
    pub(super) fn data(&self, name: &str) -> Result<MapData, PlaneError> {
        match self {
            Self::Pins(pins) => pinned(pins, name),
            // One that is not where it was is where it is to be.
            Self::Moving(pins) => {
                MapData::from_pin(pins.next().map(name)).or_else(|_| pinned(pins, name))
            }
            Self::Object(object) => {
                let map = object
                    .map(name)
                    .ok_or_else(|| PlaneError(format!("the BPF object has no map {name}")))?;
                data(map)
                    .and_then(|data| Ok(data.fd().as_fd().try_clone_to_owned()?))
                    .and_then(MapData::from_fd)
                    .map_err(|error| broken(name, &error))
            }
        }
    }

    /// A map of that type.
    pub(super) fn typed<T: TryFrom<Map, Error = MapError>>(
        &self,
        name: &str,
    ) -> Result<T, PlaneError> {
        let map = Map::from_map_data(self.data(name)?).map_err(|error| broken(name, &error))?;
        T::try_from(map).map_err(|error| self.another(name, &error))
    }

    /// An array that is written by stores.
    pub(super) fn mapped<T: Pod>(&self, name: &str) -> Result<Mapped<T>, PlaneError> {
        Mapped::new(&self.data(name)?).map_err(|error| self.another(name, &error))
    }

    /// How many elements a map has.
    pub(super) fn size(&self, name: &str) -> Result<u32, PlaneError> {
        let info = self.data(name)?.info();
        info.map(|info| info.max_entries())
            .map_err(|error| broken(name, &error))
    }

    fn another(&self, map: &str, error: &MapError) -> PlaneError {
        let name = match self {
            Self::Pins(pins) | Self::Moving(pins) => pins.name(),
            Self::Object(_) => "",
        };
        PlaneError(format!(
            "the map {map} of gateway `{name}` was made by another version of eip-dp ({}); run `eip-dp --name {name} \
             unload` and start the daemon again",
            chain(error),
        ))
    }
}

/// What a map of the object is made of; of the types that the object has.
fn data(map: &Map) -> Result<&MapData, MapError> {
    match map {
        Map::Array(data)
        | Map::DevMapHash(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::PerCpuArray(data)
        | Map::ProgramArray(data)
        | Map::RingBuf(data) => Ok(data),
        _ => Err(MapError::InvalidMapType { map_type: 0 }),
    }
}

fn pinned(pins: &Pins, name: &str) -> Result<MapData, PlaneError> {
    let path = pins.map(name);
    MapData::from_pin(&path).map_err(|error| {
        let message = format!(
            "gateway `{}`: cannot open the map {}: {}",
            pins.name(),
            path.display(),
            chain(&error)
        );
        match os_error(&error) {
            Some(libc::ENOENT) => PlaneError(format!(
                "{message}; it was loaded in part only: start the daemon, or run `eip-dp --name {} unload`",
                pins.name()
            )),
            code => with_cure(message, code),
        }
    })
}
