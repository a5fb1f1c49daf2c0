//! Who of a consumer group has been given what.

use rdkafka::groups::GroupMemberInfo;

use super::TopicPartition;

/// A member of a settled group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub client_id: String,
    pub partitions: Vec<TopicPartition>,
}

impl Member {
    /// None: its assignment cannot be read.
    pub(super) fn of(member: &GroupMemberInfo) -> Option<Member> {
        let partitions = match member.assignment() {
            Some(bytes) if !bytes.is_empty() => partitions(bytes)?,
            Some(_) | None => Vec::new(),
        };
        Some(Member { client_id: member.client_id().to_owned(), partitions })
    }
}

/// The consumer protocol's assignment: a version, then topics, each with its partitions; what follows is the assignor's.
fn partitions(bytes: &[u8]) -> Option<Vec<TopicPartition>> {
    let (_version, mut rest) = bytes.split_first_chunk::<2>()?;
    let mut partitions = Vec::new();
    for _ in 0..number(&mut rest)? {
        let (length, more) = rest.split_first_chunk::<2>()?;
        let (name, more) = more.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let name = std::str::from_utf8(name).ok()?;
        rest = more;
        for _ in 0..number(&mut rest)? {
            partitions.push(TopicPartition::new(name, number(&mut rest)?));
        }
    }
    Some(partitions)
}

fn number(bytes: &mut &[u8]) -> Option<i32> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(i32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_and_a_cut_one_is_not() {
        let whole = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\x02bc\0\0\0\0\0\0\0\x01x";
        let all = [TopicPartition::new("a", 3), TopicPartition::new("a", 4)];
        assert_eq!(partitions(whole), Some(all.to_vec()));
        let needed = whole.len() - 5;
        assert!((0..needed).all(|length| partitions(&whole[..length]).is_none()));
    }
}
