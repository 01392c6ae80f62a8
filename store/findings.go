package store

import (
	"context"
	"time"
)

// Finding is something about the place of a store that its administrator should
// know, as that it does not sync.
type Finding struct {
	Level  string // FindingOK, FindingWarn or FindingFail
	Detail string
	Mend   string // what to do about it
}

// The levels of findings.
const (
	FindingOK   = "ok"
	FindingWarn = "warn"
	FindingFail = "fail"
)

// Examined is a store that can say how its place is: a database, for one.
type Examined interface {
	// Examine looks at it; now tells the time here.
	Examine(ctx context.Context, now func() time.Time) ([]Finding, error)
}
