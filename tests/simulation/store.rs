//! The store around the model of Postgres: what it does when an answer is lost or its partitions are.

use std::collections::BTreeMap;

use super::broker::{Payload, Topic};
use super::database::{Part, Written};
use super::group::Heard;
use super::process::{Answer, Life, Membership, Step, Turn};

#[derive(Default)]
pub struct Store {
    /// What Postgres expects to be told next, by partition.
    expected: BTreeMap<i32, Option<i64>>,
    batch: Vec<Part>,
}

impl Store {
    pub fn go(&mut self, membership: &mut Membership, turn: &mut Turn<'_>) -> Step {
        match turn.dice % 4 {
            0 => return self.poll(membership, turn),
            1 | 2 if self.batch.is_empty() => self.read(turn),
            _ => self.write(turn)?,
        }
        Ok(Life::Goes)
    }

    fn poll(&mut self, membership: &mut Membership, turn: &mut Turn<'_>) -> Step {
        match membership.poll(turn.outside) {
            Heard::Nothing => {}
            Heard::Rebalance | Heard::Lost => {
                self.expected.clear();
                self.batch.clear();
                membership.owned.clear();
                membership.rejoin(turn.outside);
            }
            Heard::Assigned { generation, partitions } => {
                (membership.generation, membership.owned) = (generation, partitions);
                self.claim(membership.owned.iter().copied().collect(), turn);
            }
            Heard::Fenced => return Ok(Life::Ends),
        }
        Ok(Life::Goes)
    }

    fn claim(&mut self, partitions: Vec<i32>, turn: &Turn<'_>) {
        self.batch.clear();
        let next = |partition| (partition, turn.outside.database.next(partition));
        self.expected = partitions.into_iter().map(next).collect();
    }

    fn read(&mut self, turn: &mut Turn<'_>) {
        for (&partition, &expected) in &self.expected {
            let from = expected.unwrap_or(0);
            let most = 1 + turn.dice as usize / 4 % 30;
            let (records, _) = turn.outside.broker.read((Topic::Outputs, partition), from, most);
            let Some(&(last, _)) = records.last() else { continue };
            let record = |(_, payload): &(i64, &Payload)| match payload {
                Payload::Output(_, record) => Some(record.clone()),
                Payload::Partial(_) | Payload::Change(_) | Payload::Letter(..) => None,
            };
            let records = records.iter().filter_map(record).collect();
            self.batch.push(Part { partition, expected, next: last + 1, records });
        }
    }

    fn write(&mut self, turn: &mut Turn<'_>) -> Result<(), String> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (batch, mut written) = (self.batch.clone(), Ok(Written::Fenced));
        let answer = turn.call(|outside| {
            written = outside.database.write(&batch);
            Ok(())
        });
        let written = written?;
        match (answer, written) {
            // It is written again, and Postgres says that it has it.
            (Answer::Lost, _) => {}
            (Answer::Done | Answer::Refused(_), Written::Stored | Written::AlreadyThere) => {
                for part in std::mem::take(&mut self.batch) {
                    self.expected.insert(part.partition, Some(part.next));
                }
            }
            (Answer::Done | Answer::Refused(_), Written::Fenced) => {
                self.claim(self.expected.keys().copied().collect(), turn);
            }
        }
        Ok(())
    }
}
