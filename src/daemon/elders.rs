//! The processes before this one that still carry flows, which count here: for limits, for the choice
//! of backends, and for what is reported.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::handover::{Elder, Flows, Request};
use crate::l4::L4;

/// What all have told is summed up no more often than this.
const SUM_UP: Duration = Duration::from_millis(200);

/// Those processes, until this is dropped.
#[derive(Debug)]
pub(super) struct Elders {
    here: Arc<Here>,
    tasks: JoinSet<()>,
}

/// Those that have not gone.
#[derive(Debug)]
struct Here {
    elders: Mutex<Vec<Arc<Elder>>>,
    /// Rung when one has told something, or has gone.
    told: Notify,
    l4: L4,
}

impl Elders {
    /// What these carry counts from now on, as far as it is known; they are heard when
    /// [`Elders::hear`] is called.
    pub(super) fn new(elders: Vec<Elder>, l4: L4) -> Elders {
        let elders = Mutex::new(elders.into_iter().map(Arc::new).collect());
        let here = Arc::new(Here { elders, told: Notify::new(), l4 });
        here.sum_up();
        Elders { here, tasks: JoinSet::new() }
    }

    /// Hears what they tell, until they have gone.
    pub(super) fn hear(&mut self) {
        // One may have gone just before they were lent.
        self.here.sum_up();
        let elders = self.here.elders().clone();
        if elders.is_empty() {
            return;
        }
        for elder in elders {
            let here = Arc::clone(&self.here);
            self.tasks.spawn(async move { here.hear(&elder).await });
        }
        let here = Arc::clone(&self.here);
        self.tasks.spawn(async move {
            loop {
                here.told.notified().await;
                here.sum_up();
                if here.elders().is_empty() {
                    return;
                }
                tokio::time::sleep(SUM_UP).await;
            }
        });
    }

    /// Those that have not gone, for another process, which will hear them: this one does so no
    /// more.
    pub(super) async fn lend(&mut self) -> Vec<Arc<Elder>> {
        self.tasks.shutdown().await;
        self.here.elders().clone()
    }

    /// Wants something of each of them.
    pub(super) fn ask(&self, request: Request) {
        self.here.elders().iter().for_each(|elder| elder.ask(request));
    }
}

impl Here {
    async fn hear(&self, elder: &Arc<Elder>) {
        while elder.hear().await.is_ok() {
            self.told.notify_one();
        }
        tracing::info!(
            pid = elder.pid,
            "a process before this one has carried its flows to their end"
        );
        self.elders().retain(|other| !Arc::ptr_eq(other, elder));
        self.told.notify_one();
    }

    fn sum_up(&self) {
        let mut sum = Flows::default();
        self.elders().iter().for_each(|elder| sum.add(&elder.flows()));
        self.l4.count_before(sum);
    }

    fn elders(&self) -> MutexGuard<'_, Vec<Arc<Elder>>> {
        self.elders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::{ServiceFlows, Teller};
    use crate::l4::{self, BackendSettings, ServiceSettings};

    #[tokio::test]
    async fn who_goes_while_another_process_is_asked_counts_no_more() {
        let backend = BackendSettings::new("198.51.100.1:80".parse().unwrap(), 1);
        let service = ServiceSettings::new("web", Vec::new(), vec![backend]);
        let l4 = l4::start(l4::Settings::new(Some(1), vec![service])).await.unwrap();
        let before = || l4.load().services[0].connections_before;
        let flows = ServiceFlows { all: 3, ..ServiceFlows::default() };
        let flows = Flows { services: [("web".to_owned(), flows)].into() };
        let (teller, elder) = Teller::pair(flows).unwrap();
        let mut elders = Elders::new(vec![elder], l4.clone());
        assert_eq!(before(), 3);
        drop(teller);
        // Its end is heard, and before that is summed up the others are lent.
        let heard = elders.here.elders()[0].clone();
        elders.here.hear(&heard).await;
        assert!(elders.lend().await.is_empty());
        // The other process does not take over.
        elders.hear();
        assert_eq!(before(), 0);
    }
}
