//! The digest: SHA-256 over the values of the canonical form, in the order of its fields and without their names.
//!
//! What is written can be read back by who knows the types, so no two policies give the same bytes: numbers are in
//! groups of seven bits, texts and lists follow their length, variants their position, and each field says whether it
//! is there.

use std::fmt::Error;

use serde::ser::{self, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Bytes hashed at a time.
const CHUNK: usize = 1 << 14;

/// Hashes a value; fails for values of a kind that no policy holds.
pub(super) fn digest(prefix: &[u8], value: &impl Serialize) -> Result<[u8; 32], Error> {
    let mut feed = Feed {
        hash: Sha256::new_with_prefix(prefix),
        bytes: Vec::with_capacity(CHUNK * 2),
    };
    value.serialize(&mut feed)?;
    feed.flush();
    Ok(feed.hash.finalize().into())
}

/// Whether two values are the same; not told of a kind that no policy holds.
pub(crate) fn same<T: Serialize>(one: &T, other: &T) -> bool {
    let [one, other] = [one, other].map(|value| digest(b"", value).ok());
    one.is_some() && one == other
}

struct Feed {
    hash: Sha256,
    bytes: Vec<u8>,
}

impl Feed {
    fn flush(&mut self) {
        self.hash.update(&self.bytes);
        self.bytes.clear();
    }

    #[inline]
    fn number(&mut self, mut value: u64) {
        loop {
            let low = value.to_le_bytes()[0] & 0x7f;
            value >>= 7;
            if value == 0 {
                self.bytes.push(low);
                return;
            }
            self.bytes.push(low | 0x80);
        }
    }

    fn list(&mut self, len: Option<usize>) -> Result<&mut Self, Error> {
        self.number(len.ok_or(Error)? as u64);
        Ok(self)
    }
}

impl Serializer for &mut Feed {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = ser::Impossible<(), Error>;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = ser::Impossible<(), Error>;

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.bytes.push(value.into());
        Ok(())
    }

    fn serialize_i8(self, _: i8) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_i16(self, _: i16) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_i32(self, _: i32) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_i64(self, _: i64) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_u8(self, value: u8) -> Result<(), Error> {
        self.number(value.into());
        Ok(())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Error> {
        self.number(value.into());
        Ok(())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        self.number(value.into());
        Ok(())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        self.number(value);
        Ok(())
    }

    fn serialize_f32(self, _: f32) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_f64(self, _: f64) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.number(u32::from(value).into());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.number(value.len() as u64);
        self.bytes.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Error> {
        Err(Error)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.bytes.push(0);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.bytes.push(1);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
    ) -> Result<(), Error> {
        self.number(index.into());
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.number(index.into());
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self, Error> {
        self.list(len)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Error> {
        Err(Error)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        self.number(index.into());
        Ok(self)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self, Error> {
        self.list(len)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        if self.bytes.len() >= CHUNK {
            self.flush();
        }
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(Error)
    }
}

impl ser::SerializeSeq for &mut Feed {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

impl ser::SerializeTuple for &mut Feed {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

impl ser::SerializeTupleVariant for &mut Feed {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

impl ser::SerializeMap for &mut Feed {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

impl ser::SerializeStruct for &mut Feed {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.bytes.push(1);
        value.serialize(&mut **self)
    }

    fn skip_field(&mut self, _: &'static str) -> Result<(), Error> {
        self.bytes.push(0);
        Ok(())
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::digest;

    #[derive(Serialize, Default)]
    struct Inner {
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<u32>,
        b: Option<u32>,
    }

    #[derive(Serialize)]
    struct Outer {
        #[serde(skip_serializing_if = "Option::is_none")]
        inner: Option<Inner>,
        c: Option<u32>,
        at: At,
    }

    #[derive(Serialize, Clone)]
    enum At {
        Net(String, u16),
        Unix(String),
    }

    #[test]
    fn what_is_left_out_and_what_is_there_never_look_alike() {
        let net = At::Net("a".to_owned(), 1);
        let unix = At::Unix("a".to_owned());
        let inner = |a, b| Some(Inner { a, b });
        let mut seen = Vec::new();
        for at in [net, unix] {
            for c in [None, Some(0), Some(1)] {
                for inner in [
                    None,
                    inner(None, None),
                    inner(Some(0), None),
                    inner(None, Some(0)),
                ] {
                    let at = at.clone();
                    seen.push(digest(b"t", &Outer { inner, c, at }).unwrap());
                }
            }
        }
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }
}
