//! Archives of one image in the forms that tools write.

use super::{Layer, digest, gzip};
use serde_json::{Value, json};

/// Builds an archive of one image.
#[derive(Default)]
#[must_use = "a builder does nothing until it is asked for bytes"]
pub struct Archive {
    layers: Vec<Vec<u8>>,
    compress: bool,
    architecture: Option<String>,
    env: Vec<String>,
    working_dir: String,
    user: String,
}

impl Archive {
    /// An image without layers, for this machine.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a layer on top.
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer.bytes());
        self
    }

    /// Compresses each layer.
    pub fn gzip_layers(mut self) -> Self {
        self.compress = true;
        self
    }

    /// Makes it an image for another machine.
    pub fn for_architecture(mut self, architecture: &str) -> Self {
        self.architecture = Some(architecture.to_owned());
        self
    }

    /// Sets how it wants to be run.
    pub fn run_as(mut self, env: &[&str], working_dir: &str, user: &str) -> Self {
        self.env = env.iter().map(ToString::to_string).collect();
        working_dir.clone_into(&mut self.working_dir);
        user.clone_into(&mut self.user);
        self
    }

    /// The image's configuration.
    pub fn config(&self) -> Vec<u8> {
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| digest(layer)).collect();
        json_bytes(&json!({
            "architecture": self.architecture(),
            "os": "linux",
            "config": { "Env": self.env, "WorkingDir": self.working_dir, "User": self.user },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        }))
    }

    /// The layers as they travel.
    pub fn blobs(&self) -> Vec<Vec<u8>> {
        self.layers.iter().map(|layer| if self.compress { gzip(layer) } else { layer.clone() }).collect()
    }

    /// The image's OCI manifest.
    pub fn manifest(&self) -> Vec<u8> {
        let suffix = if self.compress { "+gzip" } else { "" };
        let kind = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
        let layers: Vec<_> = self.blobs().iter().map(|blob| descriptor(&kind, blob)).collect();
        json_bytes(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &self.config()),
            "layers": layers,
        }))
    }

    /// An index with this image and one for a machine that nobody has.
    pub fn index(&self) -> Vec<u8> {
        let mut ours = descriptor(MANIFEST, &self.manifest());
        ours["platform"] = json!({ "os": "linux", "architecture": self.architecture() });
        let mut other = descriptor(MANIFEST, b"another manifest");
        other["platform"] = json!({ "os": "plan9", "architecture": "mips" });
        json_bytes(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [other, ours] }))
    }

    /// What `docker save` wrote before version 25.
    pub fn docker(&self) -> Vec<u8> {
        self.docker_named("example/saved:1")
    }

    /// The same of an image that was saved by this name.
    pub fn docker_named(&self, name: &str) -> Vec<u8> {
        let config = self.config();
        let config_name = format!("{}.json", hex_of(&config));
        let mut tar = Layer::new().file(&config_name, &config);
        let mut names = Vec::new();
        for (number, blob) in self.blobs().iter().enumerate() {
            let name = format!("{number}/layer.tar");
            tar = tar.file(&name, blob);
            names.push(name);
        }
        let manifest = json!([{ "Config": config_name, "RepoTags": [name], "Layers": names }]);
        tar.file("manifest.json", &json_bytes(&manifest)).bytes()
    }

    /// An OCI image layout.
    pub fn oci(&self) -> Vec<u8> {
        let manifest = descriptor(MANIFEST, &self.manifest());
        self.oci_with_index(&[manifest], &[])
    }

    /// An OCI image layout whose index leads to another index.
    pub fn oci_nested(&self) -> Vec<u8> {
        let index = self.index();
        self.oci_with_index(&[descriptor(INDEX, &index)], &[index])
    }

    fn oci_with_index(&self, manifests: &[Value], more_blobs: &[Vec<u8>]) -> Vec<u8> {
        let index = json_bytes(&json!({ "schemaVersion": 2, "manifests": manifests }));
        let mut tar = Layer::new()
            .file("oci-layout", &json_bytes(&json!({ "imageLayoutVersion": "1.0.0" })))
            .file("index.json", &index);
        let documents = [self.config(), self.manifest()];
        for blob in self.blobs().iter().chain(&documents).chain(more_blobs) {
            tar = tar.file(&format!("blobs/sha256/{}", hex_of(blob)), blob);
        }
        tar.bytes()
    }

    fn architecture(&self) -> &str {
        self.architecture.as_deref().unwrap_or(match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        })
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn descriptor(kind: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest(blob), "size": blob.len() })
}

fn hex_of(blob: &[u8]) -> String {
    digest(blob).split_off("sha256:".len())
}

fn json_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain JSON")
}
