//! The generic netlink family `netdev`: what each interface offers to XDP.
//!
//! Linux has it since 6.3. The features of a veth change at run time, when its peer begins or ends
//! to receive through NAPI, so that the notifications matter as much as the dump.

use futures::StreamExt;
use genetlink::{GenetlinkError, GenetlinkHandle};
use netlink_packet_core::{
    DecodeError, Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    NlasIterator, ParseableParametrized, parse_u32, parse_u64,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};

use super::{HostError, XdpFeatures};

/// The multicast group of the notifications.
pub(super) const GROUP: &str = "mgmt";

const COMMAND_DEV_GET: u8 = 1;
const COMMAND_DEV_ADD_NTF: u8 = 2;
const COMMAND_DEV_DEL_NTF: u8 = 3;
const COMMAND_DEV_CHANGE_NTF: u8 = 4;
const ATTRIBUTE_IFINDEX: u16 = 1;
const ATTRIBUTE_XDP_FEATURES: u16 = 3;

/// A message of the family, as far as it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Netdev {
    command: u8,
    interface: u32,
    features: XdpFeatures,
}

/// What a notification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The interface has these features now.
    Features(u32, XdpFeatures),
    /// The interface is gone.
    Gone(u32),
}

impl Netdev {
    /// What a notification of this form changes; `None` for answers about queues, pages and the
    /// like.
    pub(super) fn change(&self) -> Option<Change> {
        match self.command {
            COMMAND_DEV_GET | COMMAND_DEV_ADD_NTF | COMMAND_DEV_CHANGE_NTF => {
                Some(Change::Features(self.interface, self.features))
            }
            COMMAND_DEV_DEL_NTF => Some(Change::Gone(self.interface)),
            _ => None,
        }
    }
}

impl GenlFamily for Netdev {
    fn family_name() -> &'static str {
        "netdev"
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        1
    }
}

/// The dump request, the only message that is sent, carries no attributes.
impl Emitable for Netdev {
    fn buffer_len(&self) -> usize {
        0
    }

    fn emit(&self, _: &mut [u8]) {}
}

impl ParseableParametrized<[u8], GenlHeader> for Netdev {
    fn parse_with_param(payload: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        let mut message = Self {
            command: header.cmd,
            interface: 0,
            features: XdpFeatures::default(),
        };
        for attribute in NlasIterator::new(payload) {
            let attribute = attribute?;
            match attribute.kind() {
                ATTRIBUTE_IFINDEX => message.interface = parse_u32(attribute.value())?,
                ATTRIBUTE_XDP_FEATURES => {
                    message.features = XdpFeatures(parse_u64(attribute.value())?);
                }
                _ => {}
            }
        }
        Ok(message)
    }
}

/// Asks for the features of every interface.
pub(super) async fn dump(handle: &mut GenetlinkHandle) -> Result<Vec<Change>, HostError> {
    let request = Netdev {
        command: COMMAND_DEV_GET,
        interface: 0,
        features: XdpFeatures::default(),
    };
    let mut message = NetlinkMessage::from(GenlMessage::from_payload(request));
    // The kernel leaves out the multi-part flag in the answers of this family. Without the
    // acknowledgement flag the first answer would be taken for the only one; with it, the end of
    // the dump is awaited.
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP | NLM_F_ACK;
    let mut answers = handle.request(message).await.map_err(failed)?;
    let mut changes = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer.map_err(|error| failed(error.into()))?.payload {
            NetlinkPayload::InnerMessage(message) => changes.extend(message.payload.change()),
            NetlinkPayload::Error(error) => {
                return Err(HostError::netlink(
                    "XDP features",
                    error.to_io().to_string(),
                ));
            }
            _ => {}
        }
    }
    Ok(changes)
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the form that map_err asks for"
)]
fn failed(error: GenetlinkError) -> HostError {
    HostError::netlink("XDP features", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(cmd: u8) -> GenlHeader {
        GenlHeader { cmd, version: 1 }
    }

    /// A notification as kernel 6.18 sends it: ifindex 7, xdp-features 0x23, zero-copy segments, rx
    /// metadata.
    const NOTIFICATION: [u8; 32] = [
        8, 0, 1, 0, 7, 0, 0, 0, 12, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 3, 0, 0x23, 0, 0, 0, 0,
        0, 0, 0,
    ];

    #[test]
    fn a_notification_is_read_and_foreign_attributes_are_skipped() {
        let read = |command| Netdev::parse_with_param(&NOTIFICATION, header(command)).unwrap();
        let features = Some(Change::Features(7, XdpFeatures(0x23)));
        assert_eq!(read(COMMAND_DEV_CHANGE_NTF).change(), features);
        assert_eq!(read(COMMAND_DEV_ADD_NTF).change(), features);
        assert_eq!(read(COMMAND_DEV_DEL_NTF).change(), Some(Change::Gone(7)));
        assert_eq!(read(9).change(), None);
    }

    #[test]
    fn a_cut_notification_is_refused_or_read_as_far_as_it_goes() {
        for length in 0..NOTIFICATION.len() {
            let _ = Netdev::parse_with_param(&NOTIFICATION[..length], header(COMMAND_DEV_GET));
        }
    }
}
