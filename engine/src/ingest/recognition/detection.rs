//! The lines of a picture: the detecting network at the size where it sees best.

use super::RecognitionFault;
use super::network::Network;
use super::picture::Picture;
use super::regions::{Region, regions};

/// Longest side the network is shown, in pixels: a page of A4 at 130 dots an inch.
const LONGEST: f32 = 1536.0;
/// The network halves its input five times.
const MULTIPLE: f32 = 32.0;

/// The lines of a picture, in its pixels, in no order.
pub(super) fn lines(network: &Network, picture: &Picture) -> Result<Vec<Region>, RecognitionFault> {
    let sides = [picture.width as f32, picture.height as f32];
    let shrink = (LONGEST / sides[0].max(sides[1])).min(1.0);
    let shown = sides.map(|side| ((side * shrink / MULTIPLE).round().max(1.0) * MULTIPLE) as usize);
    let planes = picture.planes([0.0, 0.0], [sides[0], 0.0], [0.0, sides[1]], shown);
    let map = network.run(planes, shown)?;
    if map.shape != [1, 1, shown[1], shown[0]] {
        return Err(RecognitionFault::Model {
            network: "detection".into(),
            reason: format!("its map has the shape {:?}", map.shape),
        });
    }
    let scale = [sides[0] / shown[0] as f32, sides[1] / shown[1] as f32];
    Ok(regions(&map.values, shown[0])
        .iter()
        .map(|region| region.scaled(scale))
        .collect())
}
