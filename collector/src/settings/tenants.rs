//! Tenants: whose requests are whose, and what each has of the collector.
//!
//! In: `collector.tenants` and `collector.tenant_header`. Out: for each tenant the settings that it runs by, with its share of
//! what is there once ([`CollectorSettings::parts`]); who comes in at which listener; what is wrong with it.
//! Left out on purpose: tenants that come and go while the collector runs: a new one is a restart.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Component, Path, PathBuf};

use config::{ByteSize, Finding};
use exposition::remote::RemoteWriteSettings;
use map::Services;
use otlp::access::{
    AccessSettings, PerClientSettings, TenantAccess, TenantHeader, Tenants, TokenSettings, header_name,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CollectorSettings, GenerateSettings, MIN_JOURNAL, PublishSettings, check_generated};

/// By what Mimir, Loki and Tempo tell tenants apart.
const ORG_ID: &str = "X-Scope-OrgID";
/// Names become directories, and values of a header.
const MAX_NAME: usize = 63;

/// A tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantSettings {
    /// Tokens of those who send it spans. Default: none, and only `tenant_header` can lead to it.
    pub send: Vec<TokenSettings>,
    /// Tokens of those who read it: page, API, `/metrics`, Jaeger's and Tempo's queries. Default: none, likewise.
    pub read: Vec<TokenSettings>,
    /// How much all who send it spans may ask together, at OTLP's two addresses. Default: no bound but its share.
    pub rate: PerClientSettings,
    /// Its share of memory, disk, map, names and requests in work, to be compared with the others' shares. Default 1: as
    /// much as any other. A tenant never takes what another leaves unused.
    pub share: NonZeroU32,
    /// Where it is kept over a restart. Default: a directory of its name in `collector.data_dir`.
    pub data_dir: Option<PathBuf>,
    /// Where its series are pushed to. Default: as `collector.remote_write` says, with its name as `X-Scope-OrgID`; a
    /// receiver that does not look at that needs an address for each tenant.
    pub remote_write: Option<RemoteWriteSettings>,
    /// Where its generated objects are kept in step. Default: nowhere; `collector.publish` is nobody's where there are tenants.
    pub publish: PublishSettings,
    /// What is written from its map, in place of all that the section `generate` says. Default: as that says, into a directory
    /// of its name in `generate.out`.
    pub generate: Option<GenerateSettings>,
    /// What is stated about its services, in place of the section `services`. Default: what that says, which every tenant
    /// without its own then has in its files.
    pub services: Option<Services>,
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self {
            send: Vec::new(),
            read: Vec::new(),
            rate: PerClientSettings::default(),
            share: NonZeroU32::MIN,
            data_dir: None,
            remote_write: None,
            publish: PublishSettings::default(),
            generate: None,
            services: None,
        }
    }
}

/// A header that names a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantHeaderSettings {
    /// Its name. Default `X-Scope-OrgID`, as Mimir, Loki and Tempo have it.
    pub name: String,
    /// The tenant of requests without it. Default: none, they are refused.
    pub default: Option<String>,
}

impl Default for TenantHeaderSettings {
    fn default() -> Self {
        Self {
            name: ORG_ID.to_owned(),
            default: None,
        }
    }
}

/// What one tenant runs by; where there are none all is one part.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) collector: CollectorSettings,
    pub(crate) generate: GenerateSettings,
    pub(crate) services: Services,
    /// Its part, and of how many.
    pub(crate) share: (u64, u64),
}

/// Something that two tenants cannot both have.
struct Place {
    tenant: String,
    key: String,
    at: PathBuf,
}

impl CollectorSettings {
    /// What each tenant runs by, in the order of their names.
    pub(crate) fn parts(&self, generate: &GenerateSettings, services: &Services) -> Vec<Part> {
        if self.tenants.is_empty() {
            return vec![Part {
                collector: self.clone(),
                generate: generate.clone(),
                services: services.clone(),
                share: (1, 1),
            }];
        }
        let all = self.shares();
        let part = |(name, tenant): (&String, &TenantSettings)| {
            let share = (u64::from(tenant.share.get()), all);
            Part {
                collector: self.part(name, tenant, share),
                generate: generated(name, tenant, generate),
                services: tenant.services.clone().unwrap_or_else(|| services.clone()),
                share,
            }
        };
        self.tenants.iter().map(part).collect()
    }

    fn shares(&self) -> u64 {
        let shares = self.tenants.values().map(|tenant| u64::from(tenant.share.get()));
        shares.sum::<u64>().max(1)
    }

    fn part(&self, name: &str, tenant: &TenantSettings, (share, all): (u64, u64)) -> Self {
        let of = |whole: u64| (u128::from(whole) * u128::from(share) / u128::from(all)) as u64;
        let mut part = self.clone();
        let in_base = self.data_dir.as_ref().map(|base| base.join(name));
        part.data_dir = tenant.data_dir.clone().or(in_base);
        part.publish = tenant.publish.clone();
        part.remote_write = tenant.remote_write.clone().or_else(|| {
            let mut shared = self.remote_write.clone()?;
            shared.headers.0.insert(ORG_ID.to_owned(), name.to_owned());
            shared.max_memory = ByteSize(of(shared.max_memory.0));
            Some(shared)
        });
        for bytes in [
            &mut part.pairing.max_memory,
            &mut part.baseline.max_memory,
            &mut part.journal.max_size,
            &mut part.store.max_size,
        ] {
            bytes.0 = of(bytes.0);
        }
        for count in [&mut part.map.max_nodes, &mut part.map.max_edges] {
            *count = of(*count as u64) as usize;
        }
        part
    }

    /// Who comes in at OTLP as whose; `None` where there are no tenants.
    pub(crate) fn senders(&self) -> Option<Tenants> {
        self.who(|tenant| (&tenant.send, tenant.rate.clone()))
    }

    /// Who comes in at the page.
    pub(crate) fn readers(&self) -> Option<Tenants> {
        self.who(|tenant| (&tenant.read, PerClientSettings::default()))
    }

    fn who(
        &self,
        at: impl Fn(&TenantSettings) -> (&Vec<TokenSettings>, PerClientSettings),
    ) -> Option<Tenants> {
        if self.tenants.is_empty() {
            return None;
        }
        let each = self.tenants.iter().map(|(name, tenant)| {
            let (tokens, together) = at(tenant);
            TenantAccess {
                name: name.clone(),
                tokens: tokens.clone(),
                together,
            }
        });
        let header = self.tenant_header.as_ref().and_then(|header| {
            let default = header.default.as_ref();
            Some(TenantHeader {
                name: header_name(&header.name)?,
                default: default.and_then(|name| self.tenants.keys().position(|known| known == name)),
            })
        });
        Some(Tenants {
            each: each.collect(),
            header,
        })
    }

    /// What is wrong with the tenants, each under its key.
    pub(super) fn check_tenants(&self, generate: &GenerateSettings, services: &Services) -> Vec<Finding> {
        let mut found = self.check_header();
        if self.tenants.is_empty() {
            return found;
        }
        let parts = self.parts(generate, services);
        for ((name, tenant), part) in self.tenants.iter().zip(&parts) {
            found.extend(self.check_tenant(name, tenant, part));
        }
        found.extend(self.check_ways_in());
        found.extend(self.check_remote_write(&parts));
        found.extend(check_places(&self.places(&parts)));
        found.extend(self.check_clusters(&parts));
        found
    }

    fn check_header(&self) -> Vec<Finding> {
        let Some(header) = &self.tenant_header else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut say = |key: &str, message: String, hint: &str| {
            found.push(finding(format!("collector.tenant_header{key}"), message, hint));
        };
        if self.tenants.is_empty() {
            let message = "`tenant_header` is set, but there are no `tenants`".to_owned();
            say("", message, "write `collector.tenants`, or leave it out");
        }
        if header_name(&header.name).is_none() {
            let message = format!("`name` is `{}`, which is no name of a header", header.name);
            say(".name", message, "leave it out for `X-Scope-OrgID`");
        }
        if let Some(unknown) = header
            .default
            .as_ref()
            .filter(|name| !self.tenants.contains_key(*name))
        {
            let message = format!("`default` is `{unknown}`, which is none of `collector.tenants`");
            say(".default", message, "write the name of a tenant, or leave it out");
        }
        found
    }

    fn check_tenant(&self, name: &str, tenant: &TenantSettings, part: &Part) -> Vec<Finding> {
        let path = format!("collector.tenants.{name}");
        let mut found = Vec::new();
        if !is_name(name) {
            let message = format!("`{name}` cannot be a tenant's name, which becomes a directory");
            let hint = "write letters, digits, `-`, `_` and `.`, a letter or digit first, at most 63";
            found.push(finding(path.clone(), message, hint));
        }
        for (key, tokens) in [("send", &tenant.send), ("read", &tenant.read)] {
            let access = AccessSettings {
                tokens: tokens.clone(),
                ..AccessSettings::default()
            };
            let tokens = access.check(&path).into_iter();
            found.extend(
                tokens.map(|finding| renamed(finding, &format!("{path}.tokens"), &format!("{path}.{key}"))),
            );
        }
        let rate = AccessSettings {
            per_client: tenant.rate.clone(),
            ..AccessSettings::default()
        };
        let rate = rate.check(&path).into_iter();
        found.extend(
            rate.map(|finding| renamed(finding, &format!("{path}.per_client"), &format!("{path}.rate"))),
        );
        if let Some(remote_write) = &tenant.remote_write {
            found.extend(remote_write.check(&format!("{path}.remote_write")));
        }
        if let Some(kubernetes) = &tenant.publish.kubernetes {
            let wrong = kubernetes.check(&part.generate).into_iter();
            let to = format!("{path}.publish");
            found.extend(wrong.map(|finding| renamed(finding, "collector.publish", &to)));
        }
        let nothing = (GenerateSettings::default(), Services::new());
        let own = (
            tenant.generate.as_ref().unwrap_or(&nothing.0),
            tenant.services.as_ref().unwrap_or(&nothing.1),
        );
        found.extend(check_generated(own.0, own.1, &format!("{path}.")));
        let journal = part.collector.journal.max_size;
        if journal < MIN_JOURNAL && self.journal.max_size >= MIN_JOURNAL {
            let message =
                format!("its share of `collector.journal.max_size` is {journal}, but four segments must fit");
            let hint = format!("give it {MIN_JOURNAL}: a larger `max_size`, or a larger `share`");
            found.push(finding(format!("{path}.share"), message, &hint));
        }
        found
    }

    /// That each tenant can be reached at both doors, and that no token leads nowhere.
    fn check_ways_in(&self) -> Vec<Finding> {
        type Own = fn(&TenantSettings) -> &Vec<TokenSettings>;
        let doors: [(&str, &AccessSettings, Own, &str); 2] = [
            ("otlp", &self.otlp.access, |tenant| &tenant.send, "send"),
            ("web", &self.web.access, |tenant| &tenant.read, "read"),
        ];
        let mut found = Vec::new();
        for (door, access, own, key) in doors {
            let has_tokens = !access.tokens.is_empty();
            if has_tokens && self.tenant_header.is_none() {
                let message =
                    "these tokens are no tenant's, so nothing says whose a request with one is".to_owned();
                let hint = format!(
                    "write them under `collector.tenants.NAME.{key}`, or `collector.tenant_header` where their bearers are trusted to name a tenant"
                );
                found.push(finding(format!("collector.{door}.access.tokens"), message, &hint));
            }
            let asks = has_tokens || self.tenants.values().any(|tenant| !own(tenant).is_empty());
            let by_header = self.tenant_header.is_some() && (has_tokens || !asks);
            if by_header {
                continue;
            }
            let nobodys = self.tenants.iter().filter(|(_, tenant)| own(tenant).is_empty());
            for (name, _) in nobodys {
                let message = format!("no request at `collector.{door}` can be `{name}`'s");
                let hint = format!(
                    "write a token: `{key}: [{{ name: team, file: PATH }}]`; or `collector.tenant_header` with tokens in `collector.{door}.access`"
                );
                found.push(finding(format!("collector.tenants.{name}.{key}"), message, &hint));
            }
        }
        found
    }

    /// Directories that are written to, each with its tenant and key.
    fn places(&self, parts: &[Part]) -> Vec<Place> {
        let mut places = Vec::new();
        for ((name, tenant), part) in self.tenants.iter().zip(parts) {
            let own = |own: bool, inner: &str, outer: &str| {
                if own {
                    format!("collector.tenants.{name}.{inner}")
                } else {
                    outer.to_owned()
                }
            };
            let data = own(tenant.data_dir.is_some(), "data_dir", "collector.data_dir");
            let out = own(tenant.generate.is_some(), "generate.out", "generate.out");
            let of = [(data, &part.collector.data_dir), (out, &part.generate.out)];
            places.extend(of.into_iter().filter_map(|(key, path)| {
                Some(Place {
                    tenant: name.clone(),
                    key,
                    at: plain(path.as_ref()?),
                })
            }));
        }
        places
    }

    fn check_remote_write(&self, parts: &[Part]) -> Vec<Finding> {
        let mut found = Vec::new();
        if let Some(shared) = &self.remote_write
            && shared
                .headers
                .0
                .keys()
                .any(|name| name.eq_ignore_ascii_case(ORG_ID))
        {
            let message = format!("`headers` has `{ORG_ID}`, so every tenant's series would be one's");
            let hint =
                "leave it out: it is each tenant's name; or write `collector.tenants.NAME.remote_write`";
            found.push(finding(
                "collector.remote_write.headers".to_owned(),
                message,
                hint,
            ));
        }
        let mut before: BTreeMap<_, &String> = BTreeMap::new();
        for (name, part) in self.tenants.keys().zip(parts) {
            let Some(write) = &part.collector.remote_write else {
                continue;
            };
            let Some(url) = &write.url else { continue };
            let headers = write.headers.0.iter();
            let org = headers
                .filter(|(header, _)| header.eq_ignore_ascii_case(ORG_ID))
                .map(|(_, value)| value)
                .next();
            let to = (url, org, &write.external_labels);
            if let Some(other) = before.insert(to, name) {
                let message = format!("`{name}` and `{other}` push their series to one place, `{url}`");
                let hint =
                    format!("give each a `{ORG_ID}` in `headers`, another `url`, or other `external_labels`");
                found.push(finding(
                    format!("collector.tenants.{name}.remote_write"),
                    message,
                    &hint,
                ));
            }
        }
        found
    }

    fn check_clusters(&self, parts: &[Part]) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.publish.kubernetes.is_some() {
            let message = "`publish.kubernetes` would have every tenant publish to one namespace".to_owned();
            let hint = "write `collector.tenants.NAME.publish.kubernetes`, each with a namespace of its own";
            found.push(finding("collector.publish.kubernetes".to_owned(), message, hint));
        }
        let mut before: BTreeMap<&str, &String> = BTreeMap::new();
        for (name, part) in self.tenants.keys().zip(parts) {
            let Some(kubernetes) = &part.collector.publish.kubernetes else {
                continue;
            };
            let key = format!("collector.tenants.{name}.publish.kubernetes.namespace");
            let hint = "give each tenant a `namespace` of its own, where only it may look";
            let Some(namespace) = kubernetes.namespace.as_deref() else {
                // The collector's own may be one that another tenant writes.
                let message = "`namespace` is not written".to_owned();
                found.push(finding(key, message, hint));
                continue;
            };
            if let Some(other) = before.insert(namespace, name) {
                let message = format!("`{name}` and `{other}` publish objects of one name to `{namespace}`");
                found.push(finding(key, message, hint));
            }
        }
        found
    }
}

fn generated(name: &str, tenant: &TenantSettings, generate: &GenerateSettings) -> GenerateSettings {
    tenant.generate.clone().unwrap_or_else(|| GenerateSettings {
        out: generate.out.as_ref().map(|out| out.join(name)),
        ..generate.clone()
    })
}

/// That no two tenants write to one directory, or one into another's.
fn check_places(places: &[Place]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, place) in places.iter().enumerate() {
        let clash = places[..index].iter().find(|other| {
            let within = place.at.starts_with(&other.at) || other.at.starts_with(&place.at);
            other.tenant != place.tenant && within
        });
        if let Some(other) = clash {
            let message = format!(
                "`{}` would write to `{}`, and `{}` to `{}`",
                place.tenant,
                place.at.display(),
                other.tenant,
                other.at.display()
            );
            found.push(finding(
                place.key.clone(),
                message,
                "give each a directory of its own",
            ));
        }
    }
    found
}

/// A path without `.` and `..`. Where symbolic links lead is not looked at: what they are may change.
fn plain(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

fn is_name(name: &str) -> bool {
    let first = name.bytes().next();
    name.len() <= MAX_NAME
        && first.is_some_and(|first| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn finding(path: String, message: String, hint: &str) -> Finding {
    Finding {
        path,
        message,
        hint: Some(hint.to_owned()),
    }
}

/// What another part says of itself, under the key that it has here.
fn renamed(finding: Finding, from: &str, to: &str) -> Finding {
    Finding {
        path: finding.path.replace(from, to),
        message: finding.message.replace(from, to),
        hint: finding.hint.map(|hint| hint.replace(from, to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> CollectorSettings {
        serde_yaml::from_str(yaml).expect("a section `collector`")
    }

    fn found(collector: &str, generate: &str) -> Vec<String> {
        let generate: GenerateSettings = serde_yaml::from_str(generate).expect("a section `generate`");
        let found = read(collector).check_tenants(&generate, &Services::new());
        found.into_iter().map(|finding| finding.path).collect()
    }

    /// Two tenants that are told apart by a header, and more that is written of the first.
    fn two(first: &str) -> String {
        format!("tenant_header: {{}}\ntenants: {{ bank: {{ {first} }}, shop: {{}} }}")
    }

    #[test]
    fn without_tenants_all_is_one_part_and_as_it_was_written() {
        let written = read("{data_dir: /var/lib/t, pairing: {max_memory: 1GiB}}");
        let parts = written.parts(&GenerateSettings::default(), &Services::new());
        assert_eq!(parts.len(), 1);
        assert_eq!(
            (&parts[0].collector, parts[0].share, written.senders()),
            (&written, (1, 1), None)
        );
    }

    #[test]
    fn budgets_are_divided_by_share_and_places_are_of_the_tenant_s_name() {
        let yaml = format!(
            "{}\ndata_dir: /d\npairing: {{max_memory: 400MiB}}\nmap: {{max_nodes: 400, max_edges: 4000}}\n\
             remote_write: {{url: 'http://mimir:9009/api/v1/push'}}",
            two("share: 3")
        );
        let generate = GenerateSettings {
            out: Some("/out".into()),
            ..GenerateSettings::default()
        };
        let parts = read(&yaml).parts(&generate, &Services::new());
        let [bank, shop] = &parts[..] else {
            panic!("two parts");
        };
        let of = |part: &Part| {
            let collector = &part.collector;
            (
                collector.data_dir.clone(),
                part.generate.out.clone(),
                collector.pairing.max_memory,
                collector.map.max_nodes,
                collector.journal.max_size,
            )
        };
        let place = |base: &str, name: &str| Some(PathBuf::from(format!("{base}/{name}")));
        assert_eq!(
            of(bank),
            (
                place("/d", "bank"),
                place("/out", "bank"),
                ByteSize::mib(300),
                300,
                ByteSize(3 << 30)
            )
        );
        assert_eq!(
            of(shop),
            (
                place("/d", "shop"),
                place("/out", "shop"),
                ByteSize::mib(100),
                100,
                ByteSize(1 << 30)
            )
        );
        let org = |part: &Part| {
            let write = part.collector.remote_write.as_ref();
            write.and_then(|write| write.headers.0.get(ORG_ID).cloned())
        };
        assert_eq!(org(bank).as_deref(), Some("bank"));
        assert_eq!(found(&yaml, "{out: /out}"), Vec::<String>::new());
    }

    #[test]
    fn two_tenants_never_write_to_one_place() {
        let bank = |key: &str| format!("collector.tenants.bank.{key}");
        let shop = |key: &str| format!("collector.tenants.shop.{key}");
        let both = |what: &str| {
            format!("tenant_header: {{}}\ntenants: {{ bank: {{ {what} }}, shop: {{ {what} }} }}")
        };
        assert_eq!(found(&both("data_dir: /d"), "{}"), [shop("data_dir")]);
        assert_eq!(found(&both("generate: {out: /d}"), "{}"), [shop("generate.out")]);
        let inner =
            "tenant_header: {}\ndata_dir: /d\ntenants: { bank: { data_dir: /d/x/../shop/traces }, shop: {} }";
        assert_eq!(found(inner, "{}"), ["collector.data_dir"]);
        let url = "url: 'http://mimir:9009/api/v1/push'";
        assert_eq!(
            found(&both(&format!("remote_write: {{{url}}}")), "{}"),
            [shop("remote_write")]
        );
        let shared = format!(
            "{}\nremote_write: {{{url}, headers: {{x-scope-orgid: all}}}}",
            two("")
        );
        assert!(found(&shared, "{}").contains(&"collector.remote_write.headers".to_owned()));
        let cluster = "publish: {kubernetes: {objects: [dashboards], namespace: mon}}";
        let generate = "{grafana: {sidecar: {}}}";
        assert_eq!(
            found(&both(cluster), generate),
            [shop("publish.kubernetes.namespace")]
        );
        let own = cluster.replace(", namespace: mon", "");
        assert_eq!(
            found(&two(&own), generate),
            [bank("publish.kubernetes.namespace")]
        );
        let everybodys = format!("{}\n{cluster}", two(""));
        assert_eq!(found(&everybodys, generate), ["collector.publish.kubernetes"]);
    }

    #[test]
    fn every_tenant_can_be_reached_and_every_token_leads_to_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("token");
        std::fs::write(&file, "0123456789abcdef\n").expect("a file");
        let tokens = format!("[{{name: a, file: {}}}]", file.display());
        let tenant = |name: &str, keys: &[&str]| {
            let keys: Vec<String> = keys.iter().map(|key| format!("{key}: {tokens}")).collect();
            format!("{name}: {{ {} }}", keys.join(", "))
        };
        let of = |bank: &[&str], more: &str| {
            let shop = tenant("shop", &["send", "read"]);
            found(
                &format!("tenants: {{ {}, {shop} }}\n{more}", tenant("bank", bank)),
                "{}",
            )
        };
        let bank = |key: &str| format!("collector.tenants.bank.{key}");
        assert_eq!(of(&["send", "read"], ""), Vec::<String>::new());
        assert_eq!(of(&["send"], ""), [bank("read")]);
        assert_eq!(of(&[], ""), [bank("send"), bank("read")]);
        assert_eq!(
            of(&["send"], "tenant_header: {}"),
            [bank("read")],
            "the listener asks for a token, and none of them may name a tenant"
        );
        let gateway = format!("web: {{ access: {{ tokens: {tokens} }} }}");
        assert_eq!(
            of(&["send"], &format!("tenant_header: {{}}\n{gateway}")),
            Vec::<String>::new()
        );
        assert_eq!(of(&["send", "read"], &gateway), ["collector.web.access.tokens"]);
    }

    #[test]
    fn names_headers_and_shares_that_cannot_be_are_told() {
        for name in ["'a/b'", "'..'", "''", "'-a'", "'a b'"] {
            let yaml = format!("tenant_header: {{}}\ntenants: {{ {name}: {{}} }}");
            assert_eq!(found(&yaml, "{}").len(), 1, "{name}");
        }
        let header = "tenant_header: {name: 'a b', default: none}\ntenants: {a: {}}";
        assert_eq!(
            found(header, "{}"),
            ["collector.tenant_header.name", "collector.tenant_header.default"]
        );
        assert_eq!(found("tenant_header: {}", "{}"), ["collector.tenant_header"]);
        let small = format!("{}\njournal: {{max_size: 400MiB}}", two("share: 2"));
        assert_eq!(found(&small, "{}"), ["collector.tenants.shop.share"]);
    }
}
