//! `ml-predictions`: several models, mostly on their newest version; labels come for some.

use super::bad::Fault;
use super::catalog::MODELS;
use super::dice::{Dice, Weighted};
use super::json::Object;
use super::moment::Moment;
use super::options::Incident;

const ERROR_SHARE: f64 = 0.005;
const OLD_VERSION_SHARE: f64 = 0.1;
const LABELLED_SHARE: f64 = 0.3;
const ACCURACY: f64 = 0.88;

pub struct Predictions {
    choice: Weighted,
}

impl Predictions {
    pub fn new() -> Predictions {
        Predictions { choice: Weighted::zipf(MODELS.len(), 0.7) }
    }

    pub fn write(
        &self,
        out: &mut Vec<u8>,
        dice: &mut Dice,
        moment: &Moment,
        fault: Option<Fault>,
        incidents: &[Incident],
    ) {
        let model = &MODELS[self.choice.pick(dice)];
        let version = model.versions[usize::from(dice.chance(OLD_VERSION_SHARE)) % model.versions.len()];
        let inference_ms =
            dice.log_normal(model.median_ms, 0.4) * slowness(incidents, moment.event_us, model.name);
        let failed = dice.chance(ERROR_SHARE);
        let swing = 1.0 + 0.02 * dice.normal();
        let millionths = (model.around_millionths as f64 * swing) as i64;
        let mut object = Object::begin(out, fault, false);
        object.field("ts", |out| moment.write(out));
        object.text("model", model.name);
        object.text("model_version", version);
        match dice.below(4) {
            // Nine digits, three more than the source keeps; never a half, so no reader's rounding is in doubt.
            0 => object.decimal("prediction", millionths * 1_000 + 123, 9),
            1 => object.decimal("prediction", millionths / 10_000, 2),
            _ => object.decimal("prediction", millionths, 6),
        }
        object.decimal("inference_ms", (inference_ms * 1e3).clamp(1.0, 6e8) as i64, 3);
        if failed {
            object
                .text("error", dice.pick(&["feature store timeout", "model not loaded", "NaN in features"]));
        } else {
            let doubt = dice.log_normal(0.12, 0.5).min(1.0);
            object.decimal("confidence", ((1.0 - doubt) * 1e4) as i64, 4);
        }
        if !model.commodity.is_empty() {
            object.text("commodity", model.commodity);
        }
        if !failed && dice.chance(LABELLED_SHARE) {
            let actual = millionths as f64 * (1.0 + 0.01 * dice.normal());
            object.decimal("actual", actual as i64, 6);
            object.raw("correct", if dice.chance(ACCURACY) { "true" } else { "false" });
        }
        if dice.chance(0.9) {
            object.trace_id("trace_id", [dice.bits(), dice.bits()]);
        }
        object.end();
    }
}

fn slowness(incidents: &[Incident], event_us: i64, name: &str) -> f64 {
    let slow = |incident: &Incident| match incident {
        Incident::SlowModel { from_us, to_us, model, factor } => {
            ((*from_us..*to_us).contains(&event_us) && model == name).then_some(*factor)
        }
        Incident::ErrorSpike { .. } | Incident::SilentFeed { .. } => None,
    };
    incidents.iter().filter_map(slow).product()
}
