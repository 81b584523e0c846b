//! Which way up a line stands: the network that tells 0 from 180 degrees.

use super::RecognitionFault;
use super::network::Network;

/// Sides at which the network is shown a line.
pub(super) const SHOWN: [usize; 2] = [192, 48];

/// How much likelier a line stands upside down than not: the logarithm of the odds, within ±10.
pub(super) fn upside_down(network: &Network, planes: Vec<f32>) -> Result<f32, RecognitionFault> {
    let said = network.run(planes, SHOWN)?;
    match said.values[..] {
        [upright, turned] => Ok((turned.max(1e-9) / upright.max(1e-9))
            .ln()
            .clamp(-10.0, 10.0)),
        _ => Err(RecognitionFault::Model {
            network: "direction".into(),
            reason: format!("it answers with {} numbers", said.values.len()),
        }),
    }
}
