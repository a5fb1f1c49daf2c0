//! Mistakes that a run can be made to contain: the simulator has to find each of them.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Ingest commits its offsets beside the transaction of its partials.
    OffsetsOutside,
    /// Evaluate writes its checkpoint beside the transaction of the offsets it stands for.
    TornCheckpoint,
    /// The watermark follows the partition that is ahead.
    FastestWatermark,
    /// Postgres takes what a store writes that has lost its partitions.
    ZombieStore,
    /// An event that comes late is folded twice.
    LateTwice,
}

impl Bug {
    pub const ALL: [Bug; 5] =
        [Bug::OffsetsOutside, Bug::TornCheckpoint, Bug::FastestWatermark, Bug::ZombieStore, Bug::LateTwice];
}
