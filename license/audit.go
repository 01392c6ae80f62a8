package license

import (
	"time"
)

// Actor is who caused a change.
type Actor struct {
	Kind ActorKind `json:"kind"`
	Name string    `json:"name,omitzero"` // token name, marketplace entry, install id
	Addr string    `json:"addr,omitzero"` // network address, where there is one
}

// ActorKind says in what capacity somebody acts.
type ActorKind string

// The kinds of actors.
const (
	ActorAdmin       ActorKind = "admin"
	ActorInstall     ActorKind = "install"
	ActorMarketplace ActorKind = "marketplace"
	ActorSystem      ActorKind = "system"
)

// Action is what an audit event records.
type Action string

// The actions. Those of the life of a licence are named like the events.
const (
	ActionIssue         Action = "license.issue"
	ActionActivate      Action = "license.activate"
	ActionRenew         Action = "license.renew"
	ActionEdit          Action = "license.edit"
	ActionSetExpiry     Action = "license.set_expiry"
	ActionSuspend       Action = "license.suspend"
	ActionResume        Action = "license.resume"
	ActionFreeze        Action = "license.freeze"
	ActionUnfreeze      Action = "license.unfreeze"
	ActionRelease       Action = "license.release"
	ActionRevoke        Action = "license.revoke"
	ActionUndoRevoke    Action = "license.undo_revoke"
	ActionBind          Action = "install.bind"
	ActionRefresh       Action = "install.refresh"
	ActionReplace       Action = "install.replace"
	ActionDeactivate    Action = "install.deactivate"
	ActionTransfer      Action = "install.transfer"
	ActionFork          Action = "install.fork"
	ActionRemove        Action = "install.remove"       // by the merchant
	ActionEnd           Action = "install.end"          // because of a fork
	ActionDrift         Action = "install.drift"        // bound anew: parts of the machine changed
	ActionConfirm       Action = "license.confirm"      // brought to what the marketplace says
	ActionInstance      Action = "marketplace.instance" // made for a purchase
	ActionDeliver       Action = "install.deliver"      // its licence was handed to the marketplace
	ActionIdentify      Action = "install.identify"     // the merchant had its licence made for an identification code
	ActionProof         Action = "license.proof"        // a proof of delivery was made
	ActionOrderAdd      Action = "order.add"            // by the merchant, or because the marketplace named it
	ActionOrderStage    Action = "order.stage"          // it was moved to another stage
	ActionOrderEdit     Action = "order.edit"           // by the merchant, or because the marketplace says something else
	ActionOrderLink     Action = "order.link"           // to a licence
	ActionJobPark       Action = "job.park"             // given up
	ActionJobRetry      Action = "job.retry"            // by the merchant
	ActionJobDrop       Action = "job.drop"             // by the merchant
	ActionUnknownCode   Action = "marketplace.unknown_code"
	ActionLateMessage   Action = "marketplace.late_message"
	ActionUsageRefused  Action = "marketplace.usage_refused" // a report of how much codes are used
	ActionKeysRotate    Action = "keys.rotate"
	ActionKeysInstall   Action = "keys.install"
	ActionKeysRequested Action = "keys.request"
	ActionClockAccept   Action = "clock.accept"
	ActionRestore       Action = "store.restore"        // a store was found to be restored
	ActionRestoreApply  Action = "store.restore_apply"  // what the marks said was made again
	ActionRestoreAdopt  Action = "store.restore_adopt"  // an install was known again by its licence
	ActionRestoreDecide Action = "store.restore_decide" // by the merchant
	ActionRestoreFinish Action = "store.restore_finish" // by the merchant
	ActionBackup        Action = "store.backup"         // a copy of everything was handed out
	ActionDump          Action = "store.dump"           // the same, as text
	ActionCheckpoint    Action = "audit.checkpoint"     // the head of the log was signed
	ActionErase         Action = "audit.erase"          // personal data was taken out of the log
	ActionUnreadable    Action = "audit.unreadable"     // in place of an entry that could not be read when the log became a chain
	ActionRefused       Action = "admin.refused"        // a call of the admin API
	ActionKeysRevoke    Action = "keys.revoke"          // somebody has begun to end a key
	ActionKeysKeep      Action = "keys.keep"            // and thought better of it
	ActionKeysExpiring  Action = "keys.expiring"        // an anchor is needed before long
	ActionTokenCreate   Action = "token.create"
	ActionTokenRevoke   Action = "token.revoke"
	ActionSessionBegin  Action = "session.begin"    // somebody has signed in to the console
	ActionSessionEndAll Action = "session.end_all"  // of a token, by whoever has it
	ActionLockedOut     Action = "admin.locked_out" // an address that presented wrong tokens

	ActionUpgrade          Action = "license.upgrade"  // other product, features, machines or end in place
	ActionExpire           Action = "license.expire"   // its end was reached, once for each end
	ActionExpiring         Action = "license.expiring" // its end is near: its warning began, once for each end
	ActionInstallRelease   Action = "install.release"  // not seen for so long that its seat was freed
	ActionOverage          Action = "install.overage"  // let in beyond what was sold
	ActionTransferRequest  Action = "transfer.request" // a move waits for the merchant
	ActionTransferApprove  Action = "transfer.approve"
	ActionTransferDeny     Action = "transfer.deny"
	ActionFloatingTakeover Action = "install.takeover" // the same instance took its own floating seat back

	ActionMarketplaceHealth Action = "marketplace.health" // an entry began to fail, or does so no more
	ActionWebhookEnable     Action = "webhook.enable"     // by the merchant
	ActionWebhookDisable    Action = "webhook.disable"    // by the merchant, the receiver (410), or after days of silence
	ActionWebhookReplay     Action = "webhook.replay"     // by the merchant
	ActionWebhookSkip       Action = "webhook.skip"       // by the merchant
	ActionWebhookForget     Action = "webhook.forget"     // by the merchant, of one that is not configured any more
	ActionWebhookGiveUp     Action = "webhook.give_up"    // one event could not be delivered
)

// ActionOf is the audit action of an event.
func ActionOf(e Event) Action { return Action("license." + string(e)) }

// AuditEvent is one entry of the audit log. It never holds a secret. AuditHead.Seal
// gives it the form in which it is kept.
type AuditEvent struct {
	Seq     int64     `json:"seq"` // position in the log, given by the store, only grows
	At      time.Time `json:"at"`
	Actor   Actor     `json:"actor"`
	Action  Action    `json:"action"`
	License string    `json:"license,omitzero"`
	Install string    `json:"install,omitzero"`
	Product string    `json:"product,omitzero"`
	Request string    `json:"request,omitzero"` // jti, callback or request id that caused it
	// Before and After hold the facts that changed, by the names of the admin API.
	Before map[string]any `json:"before,omitzero"`
	After  map[string]any `json:"after,omitzero"`
	Note   string         `json:"note,omitzero"`
	// Erased says that the entry was written with personal data, which has been
	// taken out since. A store sets it.
	Erased bool `json:"-"`
}

// Sold is what a marketplace tells once, when a code is activated there.
type Sold struct {
	Told      bool      `json:"told"`
	Product   string    `json:"product"` // the marketplace's product id
	Order     string    `json:"order,omitzero"`
	Amount    int       `json:"amount,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // an estimate; absent for one that is sold without end
	Unsure    bool      `json:"unsure,omitzero"`     // part of it could not be read
}

// Pending is what a marketplace has said about a code that nobody has
// presented yet: the facts that its messages add up to. It is applied when the
// code is activated.
type Pending struct {
	Channel    string    `json:"channel"`
	CodeIndex  []byte    `json:"code_index"`
	Last4      string    `json:"last4"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	Frozen     bool      `json:"frozen,omitzero"`
	ReleasedAt time.Time `json:"released_at,omitzero"`
	FirstAt    time.Time `json:"first_at"`
	LastAt     time.Time `json:"last_at"`
	Messages   int       `json:"messages"`
	Heard      Heard     `json:"heard,omitzero"`
	// Sold is what the marketplace told when the code was activated there, until
	// a licence is made of it.
	Sold Sold `json:"sold,omitzero"`
	// Order, Line and Instance are of an instance that was made for an order line
	// whose product is not known yet (online provisioning).
	Order    string `json:"order,omitzero"`
	Line     string `json:"line,omitzero"`
	Instance string `json:"instance,omitzero"`
	Terms    Terms  `json:"terms,omitzero"` // of the instance
	// License is the id of the licence of an instance that has a code besides to be
	// found by: one of licence 1.0, or, where Instance is set too, one that was
	// issued by hand before. Then nothing is pending.
	License string `json:"license,omitzero"`
}
