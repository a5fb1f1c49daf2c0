//! What is judged besides plain counts: silence, rates over several sources, lags, scores, slices, budgets; what waits for no second to end; and what is
//! told beside breaches. One fold and one shard in memory; the seconds expected are counted by hand.

mod budgets;
mod growth;
mod joint;
mod silence;
mod slices;
mod told;
mod world;
