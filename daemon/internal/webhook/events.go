package webhook

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed-357fa782/licensed/license"
)

// TypeTest is the type of a test delivery.
const TypeTest = "webhook.test"

// types says what the entries of the audit log are called outside. A name that
// was once sent keeps its meaning. docs/webhooks.md has the same table.
var types = map[license.Action]string{
	license.ActionIssue:      "license.issued",
	license.ActionActivate:   "license.activated",
	license.ActionRenew:      "license.renewed",
	license.ActionSetExpiry:  "license.renewed", // or typeShortened
	license.ActionEdit:       "license.edited",
	license.ActionSuspend:    "license.suspended",
	license.ActionResume:     "license.resumed",
	license.ActionFreeze:     "license.frozen",
	license.ActionUnfreeze:   "license.unfrozen",
	license.ActionRelease:    "license.released",
	license.ActionRevoke:     "license.revoked",
	license.ActionUndoRevoke: "license.revocation_undone",
	license.ActionConfirm:    "license.corrected",
	license.ActionProof:      "license.proof_made",
	license.ActionExpire:     "license.expired",
	license.ActionExpiring:   "license.expiring",
	license.ActionUpgrade:    "license.upgraded",

	license.ActionInstallRelease:   "install.released",
	license.ActionOverage:          "install.overage",
	license.ActionFloatingTakeover: "install.taken_over",
	license.ActionTransferRequest:  "transfer.requested",
	license.ActionTransferApprove:  "transfer.approved",
	license.ActionTransferDeny:     "transfer.denied",

	license.ActionBind:       "install.bound",
	license.ActionRefresh:    "install.refreshed", // chatty
	license.ActionReplace:    "install.replaced",
	license.ActionDeactivate: "install.deactivated",
	license.ActionTransfer:   "install.transferred",
	license.ActionFork:       "install.forked",
	license.ActionRemove:     "install.removed",
	license.ActionEnd:        "install.ended",
	license.ActionDrift:      "install.rebound",
	license.ActionDeliver:    "install.delivered",
	license.ActionIdentify:   "install.identified",

	license.ActionOrderAdd:   "order.added",
	license.ActionOrderStage: "order.staged",
	license.ActionOrderEdit:  "order.edited",
	license.ActionOrderLink:  "order.linked",

	license.ActionInstance:          "marketplace.instance_created",
	license.ActionUnknownCode:       "marketplace.code_unknown",
	license.ActionLateMessage:       "marketplace.message_late",
	license.ActionUsageRefused:      "marketplace.usage_refused",
	license.ActionMarketplaceHealth: "marketplace.recovered", // or typeFailing
	license.ActionJobPark:           "job.parked",
	license.ActionJobRetry:          "job.retried",
	license.ActionJobDrop:           "job.dropped",

	license.ActionKeysRotate:    "keys.rotated",
	license.ActionKeysInstall:   "keys.installed",
	license.ActionKeysRequested: "keys.requested",
	license.ActionKeysExpiring:  "keys.expiring",
	license.ActionKeysRevoke:    "keys.revoked",
	license.ActionKeysKeep:      "keys.kept",
	license.ActionClockAccept:   "clock.accepted",

	license.ActionTokenCreate: "token.created",
	license.ActionTokenRevoke: "token.revoked",

	license.ActionSessionBegin:  "session.begun",
	license.ActionSessionEndAll: "session.all_ended",

	license.ActionRefused:   "admin.refused",
	license.ActionLockedOut: "admin.locked_out",
	license.ActionErase:     "audit.erased",

	license.ActionRestore:       "store.restored",
	license.ActionRestoreApply:  "license.restored",
	license.ActionRestoreAdopt:  "install.restored",
	license.ActionRestoreDecide: "store.restore_decided",
	license.ActionRestoreFinish: "store.restore_finished",
	license.ActionBackup:        "store.backed_up",
	license.ActionDump:          "store.dumped",
}

// untold are the actions that are no events outside: those about the endpoints
// themselves, which would go in circles, and what the log does to itself.
var untold = map[license.Action]bool{
	license.ActionWebhookEnable: true, license.ActionWebhookDisable: true, license.ActionWebhookReplay: true,
	license.ActionWebhookSkip: true, license.ActionWebhookForget: true, license.ActionWebhookGiveUp: true,
	license.ActionCheckpoint: true, license.ActionUnreadable: true,
}

// Types of actions that have two.
const (
	typeShortened = "license.shortened" // a marketplace moved the end to an earlier instant
	typeFailing   = "marketplace.failing"
)

// chatty are the types that are sent only to who names them in full: each install
// causes one a day or more.
var chatty = map[string]bool{"install.refreshed": true}

// TypeOf is what an entry of the audit log is called outside, "" where it is not
// told.
func TypeOf(e license.AuditEvent) string {
	name := types[e.Action]
	switch e.Action { //nolint:exhaustive // the others have one type
	case license.ActionSetExpiry:
		if earlier(e.Before["expires_at"], e.After["expires_at"]) {
			return typeShortened
		}
	case license.ActionMarketplaceHealth:
		if failing, _ := e.After["failing"].(bool); failing {
			return typeFailing
		}
	}
	return name
}

// earlier reports whether an end was moved to an earlier instant; nil is none.
// Both are RFC 3339 in UTC with whole seconds, which sort as they lie.
func earlier(before, after any) bool {
	to, ends := after.(string)
	from, ended := before.(string)
	return ends && (!ended || to < from)
}

// Types returns all that are sent, sorted.
func Types() []string {
	set := map[string]bool{typeShortened: true, typeFailing: true}
	for _, name := range types {
		set[name] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// CheckEvents refuses what selects no type that there is: each is a type, or the
// beginning of some with ".*".
func CheckEvents(events []string) error {
	all := Types()
	for _, pattern := range events {
		if !slices.ContainsFunc(all, func(name string) bool { return selects(pattern, name) }) {
			return fmt.Errorf("%.64q is no type of event, nor the beginning of some as license.*; there are %s", pattern, strings.Join(all, ", "))
		}
	}
	return nil
}

func selects(pattern, name string) bool {
	if group, ok := strings.CutSuffix(pattern, ".*"); ok {
		return strings.HasPrefix(name, group+".")
	}
	return pattern == name
}

// wants reports whether an endpoint is told of events of a type.
func (e Endpoint) wants(name string) bool {
	switch {
	case name == "":
		return false
	case chatty[name]:
		return slices.Contains(e.Events, name)
	}
	return len(e.Events) == 0 || slices.ContainsFunc(e.Events, func(pattern string) bool { return selects(pattern, name) })
}

// subject is what events have in common that are told in their order: a licence,
// or the group of their actions.
func subject(e license.AuditEvent) string {
	if e.License != "" {
		return e.License
	}
	group, _, _ := strings.Cut(string(e.Action), ".")
	return group
}

// about reports whether an event is about what the endpoint is told of; l is its
// licence as it stands now, where that counts. With Products these are events of
// those products, of a licence that leaves them too, and what is the same for all
// products where Events asks for it. An order or a code whose product is not known
// may be another one's.
func (e Endpoint) about(ev license.AuditEvent, l *license.License) bool {
	left, _ := ev.Before["product"].(string)
	switch {
	case len(e.Products) == 0:
		return true
	case ev.Product != "":
		return slices.Contains(e.Products, ev.Product) || ev.Action == license.ActionUpgrade && slices.Contains(e.Products, left)
	case ev.License != "":
		return l != nil && slices.Contains(e.Products, l.Product)
	}
	return len(e.Events) > 0 && (general[subject(ev)] || ev.Action == license.ActionMarketplaceHealth)
}

// general are the groups of events that are about no product.
var general = map[string]bool{"keys": true, "clock": true, "store": true, "token": true, "admin": true}
