package adminapi

import (
	"context"
	"slices"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// access says who may call an operation, and how it bears what calls can carry.
// An operation that is not in the table is for admins without a scope, and takes
// neither a dry run nor an idempotency key.
type access struct {
	least authority.Role
	// reads: it changes nothing. A dry run of it is the call itself, and it needs
	// no idempotency key.
	reads bool
	// scoped: a token for some products may call it, and the store shows it those.
	scoped bool
	// tried: it can be tried, since all that it changes is in the store, or it asks
	// authority.DryRun before it does something else.
	tried bool
	// keyed: it takes an idempotency key.
	keyed bool
	// beside: it does something outside a transaction of the store. Its key is
	// recorded before.
	beside bool
	// again: a call whose answer was lost is made again, which changes nothing then.
	again bool
	// made: an answer that has made nothing is not kept: it names what is wrong, and
	// that may be mended elsewhere than in the call.
	made bool
	// open: anybody may read it.
	open bool
}

// reads is an operation that shows what whoever calls may see.
func reads() access { return access{least: authority.RoleViewer, reads: true, scoped: true} }

// readsAll is one that shows what belongs to no product.
func readsAll(least authority.Role) access { return access{least: least, reads: true} }

// writes is an operation all of whose changes are in the store, about licences.
func writes() access {
	return access{least: authority.RoleIssuer, scoped: true, tried: true, keyed: true}
}

// writesAll is one about the whole installation.
func writesAll() access { return access{least: authority.RoleAdmin, tried: true, keyed: true} }

func (a access) madeAgain() access { a.again = true; return a }

func (a access) onlyMade() access { a.made = true; return a }

// canTry marks an operation that asks authority.DryRun before it does something
// outside the store.
func (a access) canTry() access { a.tried = true; return a }

// acts is an operation that does something outside the store.
func acts() access { return access{least: authority.RoleAdmin, keyed: true, beside: true} }

// copies is an operation that streams what the store holds, and writes down for
// whom. It changes nothing that could be tried, and a stream is not kept for a key.
func copies() access { return access{least: authority.RoleAdmin} }

// table has a row for every operation; a test says which has none.
var table = map[string]access{
	"status":       reads(),
	"overview":     reads(),
	"list":         reads(),
	"show":         reads(),
	"lookup":       reads(),
	"events":       reads(),
	"keys":         reads(),
	"anchors":      reads(),
	"orders":       reads(),
	"order":        reads(),
	"orders-due":   reads(),
	"jobs":         reads(),
	"marketplaces": readsAll(authority.RoleViewer),
	"marketplace":  readsAll(authority.RoleViewer),
	"tokens":       readsAll(authority.RoleAdmin),
	"self":         reads(),

	"transfers":        reads(),
	"approve-transfer": writes(),
	"deny-transfer":    writes(),
	"upgrade":          writes(),

	"issue":          writes(),
	"issue-many":     writes().onlyMade(),
	"transfer":       writes(),
	"renew":          writes(),
	"edit":           writes(),
	"suspend":        writes(),
	"resume":         writes(),
	"revoke":         writes(),
	"undo-revoke":    writes(),
	"release":        writes(),
	"remove-install": writes(),
	"sign":           writes().madeAgain(),
	"add-order":      writes(),
	"order-stage":    writes(),
	"order-link":     writes(),
	"edit-order":     writes(),
	"import-orders":  writes(),
	"identify":       writes().madeAgain(),
	"prove":          writes(),

	"retry-jobs": writesAll().madeAgain(),
	"drop-job":   writesAll(),
	"self-test":  acts(),
	"sync":       acts(),

	"rotate":       acts().canTry(),
	"propose":      acts(),
	"install-keys": acts().canTry(),
	"accept-clock": acts().canTry(),

	"key-revocations": readsAll(authority.RoleViewer),
	"affected":        readsAll(authority.RoleViewer),
	"revoke-keys":     acts().canTry(),
	"keep-key":        writesAll().madeAgain(),

	"event-lines":     readsAll(authority.RoleViewer),
	"export-events":   readsAll(authority.RoleViewer),
	"event-head":      readsAll(authority.RoleViewer),
	"checkpoint":      writesAll().madeAgain(),
	"erase-events":    writesAll().madeAgain(),
	"webhooks":        readsAll(authority.RoleViewer),
	"test-webhook":    acts(),
	"enable-webhook":  writesAll().madeAgain(),
	"disable-webhook": writesAll().madeAgain(),
	"replay-webhook":  writesAll().madeAgain(),
	"skip-webhook":    writesAll().madeAgain(),
	"forget-webhook":  writesAll().madeAgain(),

	"backup":         copies(),
	"dump":           copies(),
	"restore":        readsAll(authority.RoleViewer),
	"restore-items":  readsAll(authority.RoleViewer),
	"restore-decide": writesAll(),
	"restore-finish": writesAll().madeAgain(),

	"create-token": writesAll(),
	"revoke-token": writesAll(),
}

// accessOf is the row of an operation.
func accessOf(id string) access {
	if a, ok := table[id]; ok {
		return a
	}
	return access{least: authority.RoleAdmin}
}

// scoped leaves out of a status what a caller for some products is not to see.
func (s *server) scoped(ctx context.Context, st adminwire.Status) adminwire.Status {
	c := authority.CallOf(ctx)
	if c == nil || !c.Principal.Scoped() {
		return st
	}
	st.Products = slices.DeleteFunc(slices.Clone(st.Products), func(p string) bool { return !c.Principal.Sees(p) })
	st.Channels, st.Marketplaces, st.Webhooks = []string{}, []adminwire.MarketplaceLine{}, []adminwire.WebhookLine{}
	st.Store, st.StoreBytes, st.DataDir, st.Disk = "", 0, "", nil
	st.Backups, st.Restore, st.MarksFailing = nil, nil, ""
	return st
}
