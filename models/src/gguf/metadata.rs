//! The key/value part of a GGUF header.

use std::collections::HashMap;

use super::reader::{GgufFault, Reader};

/// Most keys; real files have 20 to 60.
const MOST_KEYS: u64 = 1 << 16;
/// Most elements in one array; the largest real ones are merges lists of some 500,000.
const LONGEST_ARRAY: u64 = 1 << 22;

/// A metadata value, widened: which of GGUF's integer types a writer chose has no meaning.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Integer(i64),
    Float(f64),
    Bool(bool),
    String(String),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<String>),
}

/// Metadata by key.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    values: HashMap<String, Value>,
}

impl Metadata {
    pub(super) fn read(reader: &mut Reader, count: u64) -> Result<Self, GgufFault> {
        within("metadata keys", count, MOST_KEYS)?;
        // The smallest entry: an empty key, a type and one byte.
        reader.expect(count, 13)?;
        let mut values = HashMap::new();
        for _ in 0..count {
            let key = reader.string()?;
            let kind = reader.u32()?;
            let value = read_value(reader, &key, kind)?;
            if values.insert(key.clone(), value).is_some() {
                return Err(GgufFault::Twice(key));
            }
        }
        Ok(Self { values })
    }

    pub(crate) fn string(&self, key: &str) -> Option<&str> {
        match self.values.get(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&self, key: &str) -> Option<usize> {
        match self.values.get(key)? {
            Value::Integer(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(crate) fn float(&self, key: &str) -> Option<f64> {
        match self.values.get(key)? {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => Some(*number as f64),
            _ => None,
        }
    }

    pub(crate) fn strings(&self, key: &str) -> Option<&[String]> {
        match self.values.get(key)? {
            Value::Strings(list) => Some(list),
            _ => None,
        }
    }

    pub(crate) fn integers(&self, key: &str) -> Option<&[i64]> {
        match self.values.get(key)? {
            Value::Integers(list) => Some(list),
            _ => None,
        }
    }
}

fn within(what: &'static str, count: u64, limit: u64) -> Result<(), GgufFault> {
    if count > limit {
        return Err(GgufFault::Excessive { what, count, limit });
    }
    Ok(())
}

/// Bytes that a value of this type has on disk at least; `None` for a type that does not exist.
fn least_size(kind: u32) -> Option<u64> {
    Some(match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 => 12,
        _ => return None,
    })
}

fn read_value(reader: &mut Reader, key: &str, kind: u32) -> Result<Value, GgufFault> {
    let unknown = |kind| GgufFault::ValueType {
        key: key.to_owned(),
        kind,
    };
    Ok(match kind {
        0..=5 | 10 | 11 => Value::Integer(read_integer(reader, kind)?),
        6 => Value::Float(f64::from(f32::from_bits(reader.u32()?))),
        7 => Value::Bool(reader.u8()? != 0),
        8 => Value::String(reader.string()?),
        12 => Value::Float(f64::from_bits(reader.u64()?)),
        9 => {
            let element = reader.u32()?;
            let count = reader.u64()?;
            within("elements in one array", count, LONGEST_ARRAY)?;
            reader.expect(count, least_size(element).ok_or_else(|| unknown(element))?)?;
            let count = 0..count;
            match element {
                0..=5 | 7 | 10 | 11 => Value::Integers(
                    count
                        .map(|_| read_integer(reader, element))
                        .collect::<Result<_, _>>()?,
                ),
                6 => Value::Floats(
                    count
                        .map(|_| reader.u32().map(f32::from_bits))
                        .collect::<Result<_, _>>()?,
                ),
                8 => Value::Strings(count.map(|_| reader.string()).collect::<Result<_, _>>()?),
                12 => Value::Floats(
                    count
                        .map(|_| reader.u64().map(|bits| f64::from_bits(bits) as f32))
                        .collect::<Result<_, _>>()?,
                ),
                nested => return Err(unknown(nested)),
            }
        }
        unheard_of => return Err(unknown(unheard_of)),
    })
}

/// An integer, widened; a `u64` above `i64::MAX` saturates, which no real count reaches.
fn read_integer(reader: &mut Reader, kind: u32) -> Result<i64, GgufFault> {
    Ok(match kind {
        0 | 7 => i64::from(reader.u8()?),
        1 => i64::from(reader.u8()? as i8),
        2 => i64::from(reader.u16()?),
        3 => i64::from(reader.u16()? as i16),
        4 => i64::from(reader.u32()?),
        5 => i64::from(reader.u32()? as i32),
        10 => i64::try_from(reader.u64()?).unwrap_or(i64::MAX),
        _ => reader.u64()? as i64,
    })
}
