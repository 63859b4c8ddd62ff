//! How values lie in the database's columns.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use jiff::Timestamp;
use rusqlite::{
    Result, Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Type, ValueRef},
};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value},
};

/// An address as a blob: 4 or 6, then its bytes. Blobs sort as addresses do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address(pub(super) IpAddr);

impl ToSql for Address {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        let blob = match self.0 {
            IpAddr::V4(v4) => [&[4][..], &v4.octets()].concat(),
            IpAddr::V6(v6) => [&[6][..], &v6.octets()].concat(),
        };
        Ok(blob.into())
    }
}

impl FromSql for Address {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let address = match value.as_blob()? {
            [4, v4 @ ..] => <[u8; 4]>::try_from(v4)
                .ok()
                .map(|octets| Ipv4Addr::from(octets).into()),
            [6, v6 @ ..] => <[u8; 16]>::try_from(v6)
                .ok()
                .map(|octets| Ipv6Addr::from(octets).into()),
            _ => None,
        };
        address.map(Self).ok_or(FromSqlError::InvalidType)
    }
}

/// A time as microseconds since 1970.
pub(super) fn time(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// The time in a column.
pub(super) fn read_time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>> {
    let Some(microseconds) = row.get(column)? else {
        return Ok(None);
    };
    let time = Timestamp::from_microsecond(microseconds);
    time.map(Some).map_err(|error| damaged(column, error))
}

/// The address in a column.
pub(super) fn read_address(row: &Row<'_>, column: usize) -> Result<IpAddr> {
    Ok(row.get::<_, Address>(column)?.0)
}

/// The prefix in two columns: first address, length.
pub(super) fn read_cidr(row: &Row<'_>, column: usize) -> Result<IpNet> {
    let first = read_address(row, column)?;
    IpNet::new(first, row.get(column + 1)?).map_err(|error| damaged(column, error))
}

/// A value in a text column, read by its `FromStr`.
pub(super) fn read_text<T: FromStr<Err: Display>>(
    row: &Row<'_>,
    column: usize,
) -> Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    let value = text.map(|text| text.parse()).transpose();
    value.map_err(|error: T::Err| damaged(column, error))
}

/// The revision in the first column.
pub(super) fn read_revision(row: &Row<'_>) -> Result<u64> {
    u64::try_from(row.get::<_, i64>(0)?).map_err(|error| damaged(0, error))
}

/// An enum's variant in a text column, under the name that the table file has for it.
pub(super) fn read_name<'de, T: Deserialize<'de>>(row: &Row<'_>, column: usize) -> Result<T> {
    let name = row.get_ref(column)?.as_str()?;
    let name: value::StrDeserializer<'_, value::Error> = name.into_deserializer();
    T::deserialize(name).map_err(|error| damaged(column, error))
}

/// A column that does not hold what the schema promises.
pub(super) fn damaged(column: usize, error: impl Display) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.to_string().into())
}
