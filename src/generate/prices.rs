//! `commodity-prices`: each series a random walk that is drawn back to where it began.

use super::bad::Fault;
use super::catalog::{EXCHANGES, INSTRUMENTS};
use super::dice::{Dice, Weighted};
use super::json::Object;
use super::moment::Moment;

pub struct Prices {
    choice: Weighted,
    /// The price of each instrument now, as a multiple of where it began.
    walk: Vec<f64>,
}

impl Prices {
    pub fn new() -> Prices {
        Prices { choice: Weighted::zipf(INSTRUMENTS.len(), 0.8), walk: vec![1.0; INSTRUMENTS.len()] }
    }

    pub fn write(&mut self, out: &mut Vec<u8>, dice: &mut Dice, moment: &Moment, fault: Option<Fault>) {
        let chosen = self.choice.pick(dice);
        let instrument = &INSTRUMENTS[chosen];
        let step = instrument.volatility * dice.normal() - (self.walk[chosen] - 1.0) * 0.0005;
        self.walk[chosen] = (self.walk[chosen] + step).clamp(0.2, 5.0);
        let price = (instrument.start * self.walk[chosen]).round().max(1.0) as i64;
        let spaced = dice.chance(0.05);
        let mut object = Object::begin(out, fault, spaced);
        object.text("commodity", instrument.commodity);
        object.decimal("price", price, instrument.digits);
        object.field("timestamp", |out| moment.write(out));
        object.text("currency", instrument.currency);
        object.text("unit", instrument.unit);
        if let Some(region) = instrument.region {
            object.text("region", region);
        } else if dice.chance(0.02) {
            object.raw("region", "null");
        }
        if dice.chance(0.8) {
            // Seven digits at times: one more than the source keeps.
            let digits = dice.pick(&[0, 1, 2, 7]);
            let volume = dice.log_normal(120.0, 1.0) * 10f64.powi(digits as i32);
            object.decimal("volume", volume.min(1e12) as i64, digits);
        }
        if dice.chance(0.95) {
            object.text("source", dice.pick(EXCHANGES));
        }
        if dice.chance(0.05) {
            object.integer("sequence", dice.below(1 << 40) as i64, false);
        }
        object.end();
    }
}
