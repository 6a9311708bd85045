//! Long arrays as data: the entries that are not all zeros, each with its index.
//!
//! For `#[serde(with = "strata_page_heap::sparse")]` on a field of type `[T; N]`. Tables of figures have hundreds of
//! entries, few of which a program ever uses; and `serde` itself goes no further than 32.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, PartialEq, Debug)]
//! struct Table {
//!     #[serde(with = "strata_page_heap::sparse")]
//!     lengths: [u64; 256],
//! }
//!
//! let mut table = Table { lengths: [0; 256] };
//! table.lengths[40] = 3;
//! let text = serde_json::to_string(&table).expect("numbers are data");
//! assert_eq!(text, r#"{"lengths":[[40,3]]}"#);
//! assert_eq!(serde_json::from_str::<Table>(&text).expect("it is what was written"), table);
//! assert!(serde_json::from_str::<Table>(r#"{"lengths":[[256,3]]}"#).is_err());
//! ```

use core::{fmt, marker::PhantomData};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};

/// Writes the entries that differ from the default, as pairs of index and entry, by rising index.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<T, S, const N: usize>(entries: &[T; N], serializer: S) -> Result<S::Ok, S::Error>
where
    T: Serialize + Default + PartialEq,
    S: Serializer,
{
    let nothing = T::default();
    let used = || entries.iter().enumerate().filter(|(_, entry)| **entry != nothing);
    let mut pairs = serializer.serialize_seq(Some(used().count()))?;
    for pair in used() {
        serde::ser::SerializeSeq::serialize_element(&mut pairs, &pair)?;
    }
    serde::ser::SerializeSeq::end(pairs)
}

/// Reads what [`serialize`] wrote; entries that are not named are the default, and of two with the same index the last
/// counts.
///
/// # Errors
///
/// Those of the deserializer, and an index that the array does not have.
pub fn deserialize<'de, T, D, const N: usize>(deserializer: D) -> Result<[T; N], D::Error>
where
    T: Deserialize<'de> + Default + Copy,
    D: Deserializer<'de>,
{
    deserializer.deserialize_seq(Pairs(PhantomData))
}

struct Pairs<T, const N: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default + Copy, const N: usize> Visitor<'de> for Pairs<T, N> {
    type Value = [T; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pairs of an index below {N} and an entry")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<[T; N], A::Error> {
        let mut entries = [T::default(); N];
        while let Some((index, entry)) = pairs.next_element::<(usize, T)>()? {
            let place = entries.get_mut(index);
            *place.ok_or_else(|| A::Error::custom(format_args!("no index {index} of {N}")))? =
                entry;
        }
        Ok(entries)
    }
}

/// Numbers of more than 64 bits as decimal digits in a string: readers of JSON cut longer numbers.
pub mod in_digits {
    use core::fmt;
    use serde::{
        Deserializer, Serializer,
        de::{Error, Visitor},
    };

    /// Writes the digits.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(number: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    /// Reads the digits.
    ///
    /// # Errors
    ///
    /// Those of the deserializer, and anything else than digits of a number below 2¹²⁸.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        deserializer.deserialize_str(Digits)
    }

    struct Digits;

    impl Visitor<'_> for Digits {
        type Value = u128;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number as decimal digits in a string")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u128, E> {
            text.parse().map_err(|_| E::custom("not a number below 2^128"))
        }
    }
}
