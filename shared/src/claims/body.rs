//! What a miner says of itself when it claims.

use lambda_http::Request;
use utoipa::ToSchema;

use crate::{
    error::{Invalid, Result},
    http::{Fields, object},
    model::{Instance, Port, PortMapping},
};

/// Bytes of the largest request body: 16 KiB. The item has room for the instance beside a whole report.
const BODY_LIMIT: usize = 16 << 10;

/// Characters of the longest name of a worker.
const LONGEST_WORKER: usize = 64;

/// Who of the miner's runs the job, and where.
#[derive(ToSchema)]
#[schema(as = Claim)]
pub struct ClaimBody {
    /// Which of the miner's processes asks: the job is this one's alone, though others have the same key.
    #[schema(min_length = 1, max_length = 64)]
    worker: Option<String>,
    /// The miner's name for the instance.
    instance_id: Option<String>,
    /// Where on earth.
    region: Option<String>,
    /// How to reach it.
    host: Option<String>,
    /// Has to cover the ports that the job asks for.
    port_mappings: Option<Vec<PortMapping>>,
}

impl ClaimBody {
    /// Reads the body: which of the miner's processes asks, and where it runs. 422 names every field that is wrong, and every one of these
    /// ports that is not covered.
    pub fn read(request: &Request, ports: &[Port]) -> Result<(Option<String>, Instance)> {
        const MAPPINGS: &str = "a list of objects with internal_port, external_port and proto";
        let mut fields = Fields::new(object(request, BODY_LIMIT)?);
        let input = Self {
            worker: fields.optional("worker", "a string of 1 to 64 characters", |raw| {
                let worker: Option<String> = serde_json::from_str(raw.get()).ok();
                worker.filter(|worker| (1..=LONGEST_WORKER).contains(&worker.chars().count()))
            }),
            instance_id: fields.string("instance_id"),
            region: fields.string("region"),
            host: fields.string("host"),
            port_mappings: fields.optional("port_mappings", MAPPINGS, |raw| serde_json::from_str(raw.get()).ok()),
        };
        let Self { worker, instance_id, region, host, port_mappings } = input;
        let instance = Instance { instance_id, region, host, port_mappings };
        if fields.are_good() {
            for port in ports.iter().filter(|port| !instance.covers(port)) {
                let message = format!("Port {}/{} is not mapped", port.port, port.proto);
                let loc = vec!["body".into(), "port_mappings".into()];
                fields.refuse(Invalid::value(loc, message, serde_json::Value::Null));
            }
        }
        fields.end()?;
        Ok((worker, instance))
    }
}
