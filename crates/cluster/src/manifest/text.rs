//! A manifest as text again, for those who are to run a part of it.

use serde::Serialize;

use super::Manifest;

impl Manifest {
    /// The objects as multi-document YAML, in the order of application. Parsing the text gives equal objects; its hash is the
    /// hash of this text, not of the one that this manifest came from.
    ///
    /// # Errors
    /// When an object has no YAML form, which no parsed object is without.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        let mut text = String::new();
        for object in self.objects() {
            text.push_str("---\n");
            text.push_str(&serde_saphyr::to_string(&Document::of(object))?);
        }
        Ok(text)
    }
}

/// Kind and version are not part of k8s-openapi's structures but of their serialised form; going through JSON keeps one order.
#[derive(Serialize)]
struct Document(serde_json::Value);

impl Document {
    fn of(object: &super::Object) -> Self {
        Self(serde_json::to_value(object).unwrap_or_default())
    }
}
