//! Images by content: what the lock of a site says of their references.
//!
//! An image whose reference is in the lock is used by its digest. A role's images have to be there: whoever has a lock wants
//! the same content on all hosts, whatever becomes of a tag.

use crate::model::image::ImageRef;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::image_lock::Lock;
use crate::parse::node::Node;
use crate::parse::source::Place;
use crate::port::site_files::ReadError;

use super::compile::HostCompiler;

const CODE: &str = "I001";

/// A lock that was read.
#[derive(Clone, Debug)]
pub struct LockInUse {
    /// What it says.
    pub lock: Lock,
    /// Its path, as written.
    path: String,
    /// Where the site names it.
    place: Place,
}

impl HostCompiler<'_> {
    /// Reads the lock that the site names.
    pub(super) fn read_image_lock(&mut self) {
        let named = self.spec("images").and_then(|images| images.get("lock"));
        let Some((path, place)) = named.and_then(|node| Some((node.as_text()?.to_owned(), node.place))) else { return };
        if self.request.ignore_lock {
            return;
        }
        let read = match self.reader.source(&path) {
            Ok(content) => Lock::parse(&String::from_utf8_lossy(&content)).map_err(|error| error.to_string()),
            Err(ReadError::Missing) => Err("it is not there".to_owned()),
            Err(why) => Err(why.to_string()),
        };
        match read {
            Ok(lock) => self.image_lock = Some(LockInUse { lock, path, place }),
            Err(why) => self
                .errors
                .push(Diagnostic::error(CODE, place, format!("the lock of images `{path}`: {why}")).help(
                "`mastic images lock` asks the registry and writes it; `mastic build --push` writes what it has pushed",
            )),
        }
    }

    /// A reference with its digest; none where the lock has none. One that has to be there and is not is an error.
    pub(super) fn locked(&mut self, reference: &str, has_to_be_there: bool) -> Option<String> {
        let known = self.image_lock.as_ref()?;
        let tagged = ImageRef::new(reference).ok().filter(|image| !image.is_digest())?.with_tag();
        if let Some(digest) = known.lock.images.get(&tagged) {
            return Some(format!("{tagged}@{digest}"));
        }
        if has_to_be_there {
            self.errors.push(missing(known, &tagged, self.spec("images")));
        }
        None
    }
}

fn missing(known: &LockInUse, tagged: &str, images: Option<&Node>) -> Diagnostic {
    let message = format!("the image `{tagged}` is not in the lock `{}`", known.path);
    let error = Diagnostic::error(CODE, known.place, message);
    if images.and_then(|images| images.get("registry")).is_none() {
        return error.help("an image has a digest where a registry has it: name one with `registry`");
    }
    let repository = tagged.rsplit_once(':').map_or(tagged, |(repository, _)| repository);
    let other = known.lock.images.keys().find(|key| key.rsplit_once(':').is_some_and(|(name, _)| name == repository));
    let also = other.map(|key| format!("the lock has `{key}`: it was written for another `tag`"));
    error
        .maybe_help(also)
        .help("`mastic images lock` asks the registry for it, `mastic build --push` builds and pushes it")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::resolve::compile::{CompileRequest, compile_all};
    use crate::resolve::testing::{Memory, request};

    const ROLE: &str = "apiVersion: mastic/v1\nkind: Role\nmetadata: {name: cache}\nspec:\n  services:\n    \
                        cache: {image: cache}\n    side: {image: 'other/side:2'}\n  jobs:\n    fill: {like: cache, command: [fill]}\n";

    fn lock(images: &[&str]) -> String {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let lines: Vec<String> = images.iter().map(|image| format!("  {image}: {digest}\n")).collect();
        format!("apiVersion: mastic/v1\nkind: ImageLock\nimages:\n{}", lines.concat())
    }

    /// The images of all services and jobs, or what is wrong.
    fn images(settings: &str, lock: Option<&str>, request: &CompileRequest) -> Result<Vec<String>, String> {
        let site = format!(
            "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: s}}\nspec:\n  hosts: {{one: {{}}, two: {{}}}}\n  \
             images: {{{settings}}}\n  roles: [{{role: cache, hosts: all}}]\n  services: {{web: {{image: 'httpd:3', hosts: [one]}}}}\n"
        );
        let mut files = vec![("site.yaml", site.as_str()), ("roles/cache/role.yaml", ROLE)];
        files.extend(lock.map(|text| ("images.lock", text)));
        let compiled = compile_all(request, &Memory::new(&files)).map_err(|errors| errors.render(false))?;
        let desired = &compiled[0].desired;
        let of_jobs = desired.jobs.values().map(|job| (job.job.to_string(), &job.image));
        let all = desired.services.values().map(|service| (service.service.to_string(), &service.image)).chain(of_jobs);
        Ok(all.map(|(name, image)| format!("{name} {image}")).collect())
    }

    const LOCKED: &str = "registry: 'reg:5000', tag: '1', lock: images.lock";

    #[test]
    fn what_is_in_the_lock_is_used_by_its_content_and_what_is_named_in_full_need_not_be_there() {
        let text = lock(&["reg:5000/mastic/cache:1", "httpd:3"]);
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(
            images(LOCKED, Some(&text), &request(&["site.yaml"])).unwrap(),
            [
                format!("web httpd:3@{digest}"),
                format!("cache reg:5000/mastic/cache:1@{digest}"),
                "side other/side:2".to_owned(),
                format!("fill reg:5000/mastic/cache:1@{digest}"),
            ]
        );
        let as_tagged = CompileRequest { ignore_lock: true, ..request(&["site.yaml"]) };
        let plain =
            ["web httpd:3", "cache reg:5000/mastic/cache:1", "side other/side:2", "fill reg:5000/mastic/cache:1"];
        assert_eq!(images(LOCKED, None, &as_tagged).unwrap(), plain);
        // Nothing is read that the site does not name.
        assert_eq!(images("registry: 'reg:5000', tag: '1'", Some(&text), &request(&["site.yaml"])).unwrap(), plain);
    }

    #[test]
    fn a_lock_that_cannot_be_used_is_told_once_with_what_to_do() {
        let of = |settings: &str, lock: Option<&str>| images(settings, lock, &request(&["site.yaml"])).unwrap_err();
        let missing = of(LOCKED, None);
        assert!(missing.contains("the lock of images `images.lock`: it is not there"), "{missing}");
        assert_eq!(missing.matches("I001").count(), 1, "{missing}");
        assert!(of(LOCKED, Some("[")).contains("it is no lock of images"));

        let other = of(LOCKED, Some(&lock(&["reg:5000/mastic/cache:0"])));
        assert!(other.contains("the image `reg:5000/mastic/cache:1` is not in the lock `images.lock`"), "{other}");
        assert!(other.contains("the lock has `reg:5000/mastic/cache:0`: it was written for another `tag`"), "{other}");
        assert_eq!(other.matches("I001").count(), 1, "once for both hosts, the service and its job: {other}");

        let local = of("lock: images.lock", Some(&lock(&[])));
        assert!(
            local.contains("`mastic/cache:latest` is not in the lock") && local.contains("name one with `registry`"),
            "{local}"
        );
    }
}
