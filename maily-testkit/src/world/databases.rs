//! Managed databases and their snapshots, which take their time.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use maily_core::provider::{
    Database, DatabaseSettings, DatabaseState, Deleted, Endpoint, ErrorKind, NewSnapshot, Restore,
    RestoreFrom, Snapshot, SnapshotState,
};
use serde::{Deserialize, Serialize};

use super::{Refusal, World};

/// Time that a snapshot takes.
const SNAPSHOT: SignedDuration = SignedDuration::from_secs(10);
/// Time that a restore takes.
const RESTORE: SignedDuration = SignedDuration::from_secs(30);
/// Time until a new name is known.
const RENAME: SignedDuration = SignedDuration::from_secs(20);
/// Time that a deletion takes.
const DELETE: SignedDuration = SignedDuration::from_secs(15);
/// Time until reads see what was just made.
const LAG: SignedDuration = SignedDuration::from_secs(1);
/// By how much the newest restorable moment trails.
const TRAIL: SignedDuration = SignedDuration::from_mins(5);

/// Databases and snapshots by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DatabaseService {
    databases: BTreeMap<String, Instance>,
    snapshots: BTreeMap<String, Kept>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Instance {
    database: Database,
    /// Reads see it from here on.
    seen: Timestamp,
    /// When what it is doing is through.
    done: Option<Timestamp>,
    /// What stood in it since when.
    contents: Vec<(Timestamp, String)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    snapshot: Snapshot,
    begun: Timestamp,
    seen: Timestamp,
    done: Timestamp,
    content: String,
    settings: DatabaseSettings,
    engine: (String, String),
}

fn refuse<T>(kind: ErrorKind, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { kind, message: message.into() })
}

fn well_formed(name: &str) -> Result<(), Refusal> {
    let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    if letters && first && name.len() <= 63 && !name.ends_with('-') && !name.contains("--") {
        return Ok(());
    }
    refuse(ErrorKind::Invalid, format!("`{name}` is no name: 1 to 63 letters, digits and single hyphens"))
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint { host: format!("{name}.databases.sandbox.invalid"), port: 5432 }
}

fn defaults(given: &DatabaseSettings, source: &DatabaseSettings, engine: &str) -> DatabaseSettings {
    let or = |given: &str, default: String| if given.is_empty() { default } else { given.to_owned() };
    let groups = &given.security_groups;
    DatabaseSettings {
        class: or(&given.class, source.class.clone()),
        subnet_group: or(&given.subnet_group, "default".to_owned()),
        security_groups: if groups.is_empty() { vec!["default".to_owned()] } else { groups.clone() },
        parameter_group: or(&given.parameter_group, format!("default.{engine}")),
        option_group: or(&given.option_group, format!("default:{engine}")),
        multi_az: given.multi_az,
    }
}

impl DatabaseService {
    /// Lets what is through be through.
    fn settle(&mut self, now: Timestamp) {
        let through = |instance: &Instance| instance.done.is_some_and(|done| done <= now);
        self.databases
            .retain(|_, instance| instance.database.state != DatabaseState::Deleting || !through(instance));
        for (name, instance) in &mut self.databases {
            if through(instance) {
                instance.done = None;
                instance.database.state = DatabaseState::Available;
                instance.database.endpoint = Some(endpoint(name));
            }
            let database = &mut instance.database;
            let begun = database.created.filter(|_| database.backup_retention_days > 0);
            database.latest_restorable =
                begun.map(|begun| begun.max(now - TRAIL)).filter(|_| database.endpoint.is_some());
        }
        for kept in self.snapshots.values_mut().filter(|kept| kept.snapshot.state == SnapshotState::Creating)
        {
            if kept.done <= now {
                kept.snapshot.state = SnapshotState::Available;
                kept.snapshot.percent = 100;
                kept.snapshot.taken = Some(kept.begun);
            } else {
                let passed = now.duration_since(kept.begun).as_millis() * 100 / SNAPSHOT.as_millis();
                kept.snapshot.percent = u8::try_from(passed.clamp(0, 99)).unwrap_or_default();
            }
        }
    }

    fn keep(&mut self, name: &str, of: &str, now: Timestamp, tags: BTreeMap<String, String>) -> Snapshot {
        let instance = &self.databases[of];
        let snapshot = Snapshot {
            name: name.to_owned(),
            database: of.to_owned(),
            state: SnapshotState::Creating,
            percent: 0,
            taken: None,
            automatic: false,
            encryption_key: instance.database.encryption_key.clone(),
            tags,
        };
        let kept = Kept {
            snapshot: snapshot.clone(),
            begun: now,
            seen: now + LAG,
            done: now + SNAPSHOT,
            content: content_at(instance, now).unwrap_or_default(),
            settings: instance.database.settings.clone(),
            engine: (instance.database.engine.clone(), instance.database.engine_version.clone()),
        };
        self.snapshots.insert(name.to_owned(), kept);
        snapshot
    }
}

fn content_at(instance: &Instance, at: Timestamp) -> Option<String> {
    instance.contents.iter().rev().find(|(since, _)| *since <= at).map(|(_, content)| content.clone())
}

impl World {
    fn databases(&mut self) -> &mut DatabaseService {
        let now = self.now;
        self.database_service.settle(now);
        &mut self.database_service
    }

    /// Adds a database that serves, with settings of its own.
    pub fn add_database(&mut self, name: &str, engine: &str) {
        let id = self.uid();
        let database = Database {
            name: name.to_owned(),
            id,
            state: DatabaseState::Available,
            engine: engine.to_owned(),
            engine_version: "17.5".to_owned(),
            endpoint: Some(endpoint(name)),
            created: Some(self.now),
            latest_restorable: None,
            backup_retention_days: 7,
            encryption_key: None,
            replica_of: None,
            deletion_protection: false,
            settings: DatabaseSettings {
                class: "db.sandbox.small".to_owned(),
                subnet_group: "private".to_owned(),
                security_groups: vec!["databases".to_owned()],
                parameter_group: "tuned".to_owned(),
                option_group: "none".to_owned(),
                multi_az: true,
            },
            tags: BTreeMap::new(),
        };
        let instance =
            Instance { database, seen: self.now, done: None, contents: vec![(self.now, String::new())] };
        self.database_service.databases.insert(name.to_owned(), instance);
    }

    /// Changes a database as somebody else would; nothing happens where it is absent.
    pub fn edit_database(&mut self, name: &str, change: impl FnOnce(&mut Database)) {
        if let Some(instance) = self.databases().databases.get_mut(name) {
            change(&mut instance.database);
        }
    }

    /// Replaces what stands in a database.
    pub fn fill_database(&mut self, name: &str, content: &str) {
        let now = self.now;
        if let Some(instance) = self.databases().databases.get_mut(name) {
            instance.contents.push((now, content.to_owned()));
        }
    }

    /// What stands in a database now.
    pub fn database_content(&mut self, name: &str) -> Option<String> {
        let now = self.now;
        content_at(self.databases().databases.get(name)?, now)
    }

    pub(crate) fn database(&mut self, name: &str) -> Option<Database> {
        let now = self.now;
        let instance = self.databases().databases.get(name)?;
        (instance.seen <= now).then(|| instance.database.clone())
    }

    pub(crate) fn snapshots(&mut self, database: Option<&str>, name: Option<&str>) -> Vec<Snapshot> {
        let now = self.now;
        let mut found: Vec<&Kept> =
            self.databases().snapshots.values().filter(|kept| kept.seen <= now).collect();
        found.retain(|kept| database.is_none_or(|database| kept.snapshot.database == database));
        found.retain(|kept| name.is_none_or(|name| kept.snapshot.name == name));
        found.sort_by_key(|kept| std::cmp::Reverse(kept.begun));
        found.into_iter().map(|kept| kept.snapshot.clone()).collect()
    }

    pub(crate) fn create_snapshot(&mut self, wanted: &NewSnapshot) -> Result<Snapshot, Refusal> {
        well_formed(&wanted.name)?;
        let now = self.now;
        let service = self.databases();
        if service.snapshots.contains_key(&wanted.name) {
            return refuse(ErrorKind::Conflict, format!("the snapshot `{}` exists", wanted.name));
        }
        let Some(instance) = service.databases.get_mut(&wanted.database) else {
            return refuse(ErrorKind::NotFound, format!("there is no database `{}`", wanted.database));
        };
        if instance.database.state != DatabaseState::Available {
            let state = &instance.database.state;
            return refuse(ErrorKind::Conflict, format!("`{}` is {state:?}", wanted.database));
        }
        instance.database.state = DatabaseState::BackingUp;
        instance.done = Some(now + SNAPSHOT);
        Ok(service.keep(&wanted.name, &wanted.database, now, wanted.tags.clone()))
    }

    pub(crate) fn delete_snapshot(&mut self, name: &str) -> Result<Deleted, Refusal> {
        let service = self.databases();
        match service.snapshots.get(name).map(|kept| &kept.snapshot.state) {
            None => Ok(Deleted::AlreadyAbsent),
            Some(SnapshotState::Creating) => refuse(ErrorKind::Conflict, "the snapshot is being taken"),
            Some(_) => {
                service.snapshots.remove(name);
                Ok(Deleted::Gone)
            }
        }
    }

    pub(crate) fn restore(&mut self, wanted: &Restore) -> Result<Database, Refusal> {
        well_formed(&wanted.name)?;
        let (id, now) = (self.uid(), self.now);
        let service = self.databases();
        if service.databases.contains_key(&wanted.name) {
            return refuse(ErrorKind::Conflict, format!("the database `{}` exists", wanted.name));
        }
        let (content, source, (engine, engine_version), key) = match &wanted.from {
            RestoreFrom::Snapshot(name) => match service.snapshots.get(name) {
                None => return refuse(ErrorKind::NotFound, format!("there is no snapshot `{name}`")),
                Some(kept) if kept.snapshot.state != SnapshotState::Available => {
                    return refuse(ErrorKind::Conflict, format!("the snapshot `{name}` is not available"));
                }
                Some(kept) => {
                    let key = kept.snapshot.encryption_key.clone();
                    (kept.content.clone(), kept.settings.clone(), kept.engine.clone(), key)
                }
            },
            RestoreFrom::Moment { database: name, at } => {
                let Some(instance) = service.databases.get(name) else {
                    return refuse(ErrorKind::NotFound, format!("there is no database `{name}`"));
                };
                let database = &instance.database;
                let Some(latest) = database.latest_restorable else {
                    return refuse(ErrorKind::Invalid, format!("`{name}` has no backups"));
                };
                let at = at.unwrap_or(latest);
                let kept = SignedDuration::from_hours(24 * i64::from(database.backup_retention_days));
                let first = database.created.unwrap_or(at).max(now - kept);
                if at > latest || at < first {
                    let message = format!("{at} is outside of what can be restored, {first} to {latest}");
                    return refuse(ErrorKind::Invalid, message);
                }
                let engine = (database.engine.clone(), database.engine_version.clone());
                let content = content_at(instance, at).unwrap_or_default();
                (content, database.settings.clone(), engine, database.encryption_key.clone())
            }
        };
        let database = Database {
            name: wanted.name.clone(),
            id,
            state: DatabaseState::Creating,
            settings: defaults(&wanted.settings, &source, &engine),
            engine,
            engine_version,
            endpoint: None,
            created: Some(now),
            latest_restorable: None,
            backup_retention_days: 7,
            encryption_key: key,
            replica_of: None,
            deletion_protection: false,
            tags: wanted.tags.clone(),
        };
        let instance = Instance {
            database: database.clone(),
            seen: now + LAG,
            done: Some(now + RESTORE),
            contents: vec![(now, content)],
        };
        service.databases.insert(wanted.name.clone(), instance);
        Ok(database)
    }

    pub(crate) fn rename_database(&mut self, name: &str, to: &str) -> Result<Database, Refusal> {
        well_formed(to)?;
        let now = self.now;
        let service = self.databases();
        if service.databases.contains_key(to) {
            return refuse(ErrorKind::Conflict, format!("the database `{to}` exists"));
        }
        match service.databases.get(name).map(|instance| &instance.database.state) {
            None => return refuse(ErrorKind::NotFound, format!("there is no database `{name}`")),
            Some(DatabaseState::Available) => {}
            Some(state) => return refuse(ErrorKind::Conflict, format!("`{name}` is {state:?}")),
        }
        let Some(mut instance) = service.databases.remove(name) else {
            return refuse(ErrorKind::NotFound, format!("there is no database `{name}`"));
        };
        to.clone_into(&mut instance.database.name);
        instance.database.state = DatabaseState::Renaming;
        instance.database.endpoint = None;
        (instance.seen, instance.done) = (now + RENAME, Some(now + RENAME));
        let database = instance.database.clone();
        service.databases.insert(to.to_owned(), instance);
        Ok(database)
    }

    pub(crate) fn delete_database(&mut self, name: &str, last: Option<&str>) -> Result<Deleted, Refusal> {
        let now = self.now;
        let service = self.databases();
        let Some(instance) = service.databases.get(name) else { return Ok(Deleted::AlreadyAbsent) };
        let (id, state) = (instance.database.id.clone(), instance.database.state.clone());
        if state == DatabaseState::Deleting {
            return Ok(Deleted::Pending { uid: id });
        }
        if instance.database.deletion_protection {
            return refuse(ErrorKind::Conflict, format!("`{name}` is protected against deletion"));
        }
        if let Some(last) = last {
            well_formed(last)?;
            if service.snapshots.contains_key(last) {
                return refuse(ErrorKind::Conflict, format!("the snapshot `{last}` exists"));
            }
            service.keep(last, name, now, BTreeMap::new());
        }
        if let Some(instance) = service.databases.get_mut(name) {
            instance.database.state = DatabaseState::Deleting;
            instance.done = Some(now + DELETE);
        }
        Ok(Deleted::Pending { uid: id })
    }
}
