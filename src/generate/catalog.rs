//! The names the platform's feeds carry.

/// A route of the platform's API and how it usually answers.
pub struct Route {
    pub service: &'static str,
    pub path: &'static str,
    /// The commonest first.
    pub methods: &'static [&'static str],
    pub median_ms: f64,
    pub sigma: f64,
}

const fn route(
    service: &'static str,
    path: &'static str,
    methods: &'static [&'static str],
    median_ms: f64,
    sigma: f64,
) -> Route {
    Route { service, path, methods, median_ms, sigma }
}

/// The busiest first; traffic is Zipf over this order.
pub const ROUTES: &[Route] = &[
    route("prices-api", "/api/v1/prices/latest", &["GET"], 8.0, 0.5),
    route("prices-api", "/api/v1/prices/history", &["GET"], 45.0, 0.7),
    route("web", "/", &["GET", "HEAD"], 20.0, 0.4),
    route("predictions-api", "/api/v1/predictions", &["GET", "POST"], 60.0, 0.6),
    route("auth", "/oauth/token", &["POST"], 30.0, 0.5),
    route("web", "/dashboards/{id}", &["GET"], 80.0, 0.6),
    route("prices-api", "/api/v1/curves/{commodity}", &["GET"], 25.0, 0.6),
    route("alerts-api", "/api/v1/alerts", &["GET", "POST", "DELETE"], 15.0, 0.5),
    route("predictions-api", "/api/v1/predictions/{id}", &["GET"], 12.0, 0.4),
    route("auth", "/userinfo", &["GET"], 6.0, 0.4),
    route("trades-api", "/api/v1/orders", &["POST", "GET"], 40.0, 0.6),
    route("trades-api", "/api/v1/orders/{id}", &["GET", "PUT", "DELETE"], 22.0, 0.5),
    route("web", "/märkte/öl", &["GET"], 35.0, 0.4),
    route("alerts-api", "/api/v1/alerts/{id}", &["PATCH", "GET"], 18.0, 0.5),
    route("trades-api", "/api/v1/positions", &["GET"], 55.0, 0.7),
    route("predictions-api", "/api/v1/models", &["GET"], 10.0, 0.3),
    route("prices-api", "/api/v1/export", &["POST"], 400.0, 0.8),
    route("auth", "/oauth/revoke", &["POST"], 14.0, 0.4),
    route("web", "/healthz", &["GET"], 1.0, 0.3),
    route("trades-api", "/api/v1/settlements", &["POST"], 120.0, 0.6),
];

pub const REGIONS: &[&str] = &["us-east-1", "eu-west-1", "us-west-2", "eu-central-1", "ap-southeast-1"];

/// A served model; the older version still takes a little traffic.
pub struct Model {
    pub name: &'static str,
    pub versions: &'static [&'static str],
    pub commodity: &'static str,
    pub median_ms: f64,
    /// Usual prediction, in millionths.
    pub around_millionths: i64,
}

const fn model(
    name: &'static str,
    versions: &'static [&'static str],
    commodity: &'static str,
    median_ms: f64,
    around_millionths: i64,
) -> Model {
    Model { name, versions, commodity, median_ms, around_millionths }
}

pub const MODELS: &[Model] = &[
    model("random-forest-oil", &["2.3.1", "2.3.0"], "WTI Crude Oil", 22.0, 71_400_000),
    model("random-forest-gold", &["1.9.0", "1.8.4"], "Gold", 18.0, 2_000_500_000),
    model("random-forest-gas", &["2.0.2", "2.0.1"], "Natural Gas", 20.0, 3_120_000),
    model("electricity-spike", &["0.7.0", "0.6.5"], "Electricity", 35.0, 48_250_000),
    model("spread-direction", &["3.1.0"], "", 12.0, -250_000),
];

/// One price series: a commodity in a currency, unit and, for electricity, region.
pub struct Instrument {
    pub commodity: &'static str,
    pub currency: &'static str,
    pub unit: &'static str,
    pub region: Option<&'static str>,
    /// In 10^-`digits` of the currency.
    pub start: f64,
    pub digits: usize,
    /// Standard deviation of one step, as a share of the price.
    pub volatility: f64,
}

const fn instrument(
    commodity: &'static str,
    currency: &'static str,
    unit: &'static str,
    region: Option<&'static str>,
    start: f64,
    digits: usize,
    volatility: f64,
) -> Instrument {
    Instrument { commodity, currency, unit, region, start, digits, volatility }
}

pub const INSTRUMENTS: &[Instrument] = &[
    instrument("Gold", "USD", "oz", None, 200_050.0, 2, 0.000_1),
    instrument("WTI Crude Oil", "USD", "bbl", None, 7_140.0, 2, 0.000_2),
    instrument("Brent Crude Oil", "USD", "bbl", None, 7_530.0, 2, 0.000_2),
    instrument("Natural Gas", "USD", "MMBtu", None, 31_200.0, 4, 0.000_4),
    instrument("Silver", "USD", "oz", None, 2_412_500.0, 5, 0.000_2),
    instrument("Copper", "USD", "lb", None, 45_620.0, 4, 0.000_2),
    instrument("LNG", "USD", "MMBtu", None, 12_850.0, 3, 0.000_4),
    instrument("Electricity", "USD", "MWh", Some("PJM"), 4_825.0, 2, 0.001),
    instrument("Electricity", "USD", "MWh", Some("ERCOT"), 3_910.0, 2, 0.002),
    instrument("Electricity", "USD", "MWh", Some("CAISO"), 5_240.0, 2, 0.001_5),
    instrument("Electricity", "EUR", "MWh", Some("DE-LU"), 8_815.0, 2, 0.001),
    instrument("Gold", "EUR", "oz", None, 173_020.0, 2, 0.000_1),
];

pub const EXCHANGES: &[&str] = &["CME", "ICE", "LME", "EPEX", "broker-feed"];
