//! What is judged besides plain counts: silence, rates over several sources, lags, scores, slices, budgets; and what is
//! told beside breaches. One fold and one shard in memory; the seconds expected are counted by hand.

mod budgets;
mod joint;
mod silence;
mod slices;
mod told;
mod world;
