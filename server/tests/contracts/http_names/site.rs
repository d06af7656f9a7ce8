//! A device with a web server behind an HTTP name.

use moorline_server::registry::model::ForwardKind;

use crate::http_names::bed::{Bed, Session};
use crate::http_names::web::Web;
use crate::http_names::ws_device::WsDevice;

/// A device with a web server behind an HTTP name.
pub(crate) struct Site {
    pub(crate) web: Web,
    pub(crate) session: Session,
    _tunnel: WsDevice,
}

impl Site {
    pub(crate) async fn new(bed: &Bed) -> Self {
        let web = Web::start().await;
        let session = bed.session(ForwardKind::Http).await;
        let tunnel = WsDevice::hold(bed, &session, web.port).await;
        Self {
            web,
            session,
            _tunnel: tunnel,
        }
    }

    pub(crate) fn name(&self) -> String {
        self.session.name()
    }
}
