//! JSON of the API server. Who set which fields of an object (`managedFields`) is most of it as a tree of maps, and is
//! asked for seldom: there, `fieldsV1` stays the text that it came as.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value, value::RawValue};

/// Reads JSON so.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Place::Anywhere.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Where in an object a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Anywhere,
    Metadata,
    ManagedFields,
}

impl Place {
    fn below(self, key: &str) -> Self {
        match (self, key) {
            (Self::ManagedFields, _) | (Self::Metadata, "managedFields") => Self::ManagedFields,
            (_, "metadata") => Self::Metadata,
            _ => Self::Anywhere,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = if self == Self::ManagedFields && key == "fieldsV1" {
                Value::String(entries.next_value::<Box<RawValue>>()?.get().to_owned())
            } else {
                entries.next_value_seed(self.below(&key))?
            };
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_but_the_owned_fields_is_as_it_was() {
        let fields = r#"{"f:data":{"f:a":{}}}"#;
        let text = r#"{"kind":"List","items":[{"metadata":{"name":"a","managedFields":[{"manager":"m","fieldsV1":FIELDS}],
            "labels":{"fieldsV1":"x"}},"spec":{"fieldsV1":{"a":[1,-2,2.5,true,null,"\u00fc\n"]},"managedFields":[{"fieldsV1":{}}]}}]}"#
            .replace("FIELDS", fields);
        let plain: Value = serde_json::from_str(&text).expect("is JSON");
        let mut read = read(text.as_bytes()).expect("is JSON");
        let owned = &mut read["items"][0]["metadata"]["managedFields"][0]["fieldsV1"];
        assert_eq!(owned.take(), json!(fields));
        *owned = serde_json::from_str(fields).expect("is JSON");
        assert_eq!(read, plain);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "{} x", r#"{"a":}"#, "[1,]"] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
