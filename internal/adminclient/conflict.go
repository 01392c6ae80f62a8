package adminclient

import (
	"encoding/json"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// RevisionError is the conflict of a call that was for a revision of a licence (see
// WithRevision) which another change has replaced.
type RevisionError struct {
	Given   int64             // the revision that the call was for
	Current adminwire.License // the licence as it is

	err error
}

func (e *RevisionError) Error() string { return e.err.Error() }

// Unwrap gives the license.Error of the refusal.
func (e *RevisionError) Unwrap() error { return e.err }

// revisionConflict adds both versions to a refusal where the problem has them.
func revisionConflict(body []byte, err error) error {
	var p struct {
		Given   int64              `json:"given"`
		Current *adminwire.License `json:"current"`
	}
	if json.Unmarshal(body, &p) != nil || p.Current == nil || p.Given == 0 {
		return err
	}
	return &RevisionError{Given: p.Given, Current: *p.Current, err: err}
}
