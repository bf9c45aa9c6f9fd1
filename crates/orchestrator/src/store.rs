//! What survives a crash: one redb file, and every write on disk before its caller goes on.
//!
//! Values are JSON, so that `hanse` of a later version reads what an earlier one wrote as long as fields only join.

use std::path::Path;
use std::sync::Arc;

use hanse_agreement::AgreementId;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{ConsumerRecord, LocalService, ProviderRecord};
use crate::webhooks::{Delivery, Subscription};

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const CONSUMER: Table = TableDefinition::new("consumer");
const PROVIDER: Table = TableDefinition::new("provider");
const SERVICES: Table = TableDefinition::new("services");
const SUBSCRIPTIONS: Table = TableDefinition::new("subscriptions");
const DELIVERIES: Table = TableDefinition::new("deliveries");
/// Events that webhooks have heard of, those of them whose blocks were replaced, and how often what happened to an agreement
/// was replaced by something else: see [`crate::told`].
pub(crate) const TOLD: Table = TableDefinition::new("told");
pub(crate) const UNDONE: Table = TableDefinition::new("undone");
pub(crate) const VERSIONS: Table = TableDefinition::new("versions");
const IDEMPOTENCY: Table = TableDefinition::new("idempotency");
const SETTINGS: Table = TableDefinition::new("settings");
const ALL: [Table; 10] = [
    CONSUMER,
    PROVIDER,
    SERVICES,
    SUBSCRIPTIONS,
    DELIVERIES,
    TOLD,
    UNDONE,
    VERSIONS,
    IDEMPOTENCY,
    SETTINGS,
];

/// Records are few; redb's own default would let its cache grow to a gigabyte.
const CACHE_BYTES: usize = 1 << 20;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Opening failed.
    #[error("could not open {path}: {source}; is another agent using this data folder?")]
    Open {
        /// The file.
        path: String,
        /// What redb says.
        source: Box<redb::DatabaseError>,
    },
    /// Reading or writing failed.
    #[error("the agent's store failed: {0}; free disk space or check the disk, then restart the agent")]
    Io(#[from] Box<redb::Error>),
    /// A value is not what this version writes.
    #[error("the agent's store holds a {table} entry that this version can't read: {source}")]
    Format {
        /// Where.
        table: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

pub(crate) fn io(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Io(Box::new(error.into()))
}

/// Handle of the file; clones share it.
#[derive(Clone)]
pub struct Store(Arc<Database>);

impl Store {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database =
            hanse_database::open_or_make(Database::builder().set_cache_size(CACHE_BYTES), path).map_err(|source| {
                StoreError::Open {
                    path: path.display().to_string(),
                    source: Box::new(source),
                }
            })?;
        let transaction = database.begin_write().map_err(io)?;
        for table in ALL {
            transaction.open_table(table).map_err(io)?;
        }
        transaction.commit().map_err(io)?;
        Ok(Self(Arc::new(database)))
    }

    /// Runs `change` in one durable transaction, off the async threads.
    async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Batch) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = Arc::clone(&self.0);
        let task = tokio::task::spawn_blocking(move || {
            let mut batch = Batch(database.begin_write().map_err(io)?);
            let result = change(&mut batch)?;
            batch.0.commit().map_err(io)?;
            Ok(result)
        });
        task.await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn read<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        let transaction = self.0.begin_read().map_err(io)?;
        let opened = transaction.open_table(table).map_err(io)?;
        opened
            .get(key)
            .map_err(io)?
            .map(|value| parse(table, value.value()))
            .transpose()
    }

    fn list<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<T>, StoreError> {
        let transaction = self.0.begin_read().map_err(io)?;
        let opened = transaction.open_table(table).map_err(io)?;
        opened
            .iter()
            .map_err(io)?
            .map(|entry| parse(table, entry.map_err(io)?.1.value()))
            .collect()
    }

    /// Writes everything that `change` puts into the batch, or nothing.
    pub async fn commit(
        &self,
        change: impl FnOnce(&mut Batch) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        self.write(change).await
    }

    /// A consumer record.
    pub fn consumer(&self, id: AgreementId) -> Result<Option<ConsumerRecord>, StoreError> {
        self.read(CONSUMER, &id.0)
    }

    /// All consumer records.
    pub fn consumers(&self) -> Result<Vec<ConsumerRecord>, StoreError> {
        self.list(CONSUMER)
    }

    /// A provider record.
    pub fn provider(&self, id: AgreementId) -> Result<Option<ProviderRecord>, StoreError> {
        self.read(PROVIDER, &id.0)
    }

    /// All provider records.
    pub fn providers(&self) -> Result<Vec<ProviderRecord>, StoreError> {
        self.list(PROVIDER)
    }

    /// A local service.
    pub fn service(&self, name: &str) -> Result<Option<LocalService>, StoreError> {
        self.read(SERVICES, name.as_bytes())
    }

    /// All local services.
    pub fn services(&self) -> Result<Vec<LocalService>, StoreError> {
        self.list(SERVICES)
    }

    /// All webhook subscriptions.
    pub fn subscriptions(&self) -> Result<Vec<Subscription>, StoreError> {
        self.list(SUBSCRIPTIONS)
    }

    /// All deliveries that are still to be made, oldest first.
    pub fn deliveries(&self) -> Result<Vec<Delivery>, StoreError> {
        self.list(DELIVERIES)
    }

    /// How many deliveries are still to be made.
    pub fn waiting_deliveries(&self) -> Result<u64, StoreError> {
        let transaction = self.0.begin_read().map_err(io)?;
        let opened = transaction.open_table(DELIVERIES).map_err(io)?;
        opened.len().map_err(io)
    }

    /// What was answered to a request with this idempotency key.
    pub fn answered<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        self.read(IDEMPOTENCY, key.as_bytes())
    }

    /// A single value of the agent itself, such as the position in the event stream.
    pub fn setting<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        self.read(SETTINGS, name.as_bytes())
    }
}

fn parse<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T, StoreError> {
    use redb::TableHandle;
    serde_json::from_slice(bytes).map_err(|source| StoreError::Format {
        table: table.name().to_owned(),
        source,
    })
}

/// Changes that take effect together.
pub struct Batch(pub(crate) WriteTransaction);

impl Batch {
    fn get<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        let opened = self.0.open_table(table).map_err(io)?;
        opened
            .get(key)
            .map_err(io)?
            .map(|value| parse(table, value.value()))
            .transpose()
    }

    fn put<T: Serialize>(&mut self, table: Table, key: &[u8], value: &T) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(value).expect("records have string keys only, so they always serialise");
        self.0
            .open_table(table)
            .map_err(io)?
            .insert(key, bytes.as_slice())
            .map_err(io)?;
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.0.open_table(table).map_err(io)?.remove(key).map_err(io)?;
        Ok(())
    }

    /// Writes a consumer record.
    pub fn put_consumer(&mut self, record: &ConsumerRecord) -> Result<(), StoreError> {
        self.put(CONSUMER, &record.id().0, record)
    }

    /// Changes a consumer record as it is now; does nothing if there is none.
    pub fn update_consumer(
        &mut self,
        id: AgreementId,
        change: impl FnOnce(&mut ConsumerRecord),
    ) -> Result<(), StoreError> {
        if let Some(mut record) = self.get::<ConsumerRecord>(CONSUMER, &id.0)? {
            change(&mut record);
            self.put_consumer(&record)?;
        }
        Ok(())
    }

    /// Changes a provider record as it is now; does nothing if there is none.
    pub fn update_provider(
        &mut self,
        id: AgreementId,
        change: impl FnOnce(&mut ProviderRecord),
    ) -> Result<(), StoreError> {
        if let Some(mut record) = self.get::<ProviderRecord>(PROVIDER, &id.0)? {
            change(&mut record);
            self.put_provider(&record)?;
        }
        Ok(())
    }

    /// Changes a local service as it is now; does nothing if there is none.
    pub fn update_service(&mut self, name: &str, change: impl FnOnce(&mut LocalService)) -> Result<(), StoreError> {
        if let Some(mut service) = self.get::<LocalService>(SERVICES, name.as_bytes())? {
            change(&mut service);
            self.put_service(&service)?;
        }
        Ok(())
    }

    /// Writes a provider record.
    pub fn put_provider(&mut self, record: &ProviderRecord) -> Result<(), StoreError> {
        self.put(PROVIDER, &record.id.0, record)
    }

    /// Writes a local service.
    pub fn put_service(&mut self, service: &LocalService) -> Result<(), StoreError> {
        self.put(SERVICES, service.definition.name.as_bytes(), service)
    }

    /// Forgets a local service.
    pub fn remove_service(&mut self, name: &str) -> Result<(), StoreError> {
        self.remove(SERVICES, name.as_bytes())
    }

    /// Writes a subscription.
    pub fn put_subscription(&mut self, subscription: &Subscription) -> Result<(), StoreError> {
        self.put(SUBSCRIPTIONS, subscription.id.as_bytes(), subscription)
    }

    /// Forgets a subscription.
    pub fn remove_subscription(&mut self, id: uuid::Uuid) -> Result<(), StoreError> {
        self.remove(SUBSCRIPTIONS, id.as_bytes())
    }

    /// Writes a delivery that is to be made.
    pub fn put_delivery(&mut self, delivery: &Delivery) -> Result<(), StoreError> {
        self.put(DELIVERIES, &delivery.key(), delivery)
    }

    /// Forgets a delivery, because it was made or given up.
    pub fn remove_delivery(&mut self, delivery: &Delivery) -> Result<(), StoreError> {
        self.remove(DELIVERIES, &delivery.key())
    }

    /// Remembers the answer to a request with an idempotency key.
    pub fn put_answer<T: Serialize>(&mut self, key: &str, answer: &T) -> Result<(), StoreError> {
        self.put(IDEMPOTENCY, key.as_bytes(), answer)
    }

    /// Writes a single value of the agent itself.
    pub fn put_setting<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), StoreError> {
        self.put(SETTINGS, name.as_bytes(), value)
    }
}
