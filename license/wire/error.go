package wire

import (
	"errors"

	"github.com/seed-357fa782/licensed/license"
)

// asError finds the licence error in err, or makes one of a bare reason.
func asError(err error) (*license.Error, bool) {
	var e *license.Error
	if errors.As(err, &e) {
		return e, true
	}
	var r license.Reason
	if errors.As(err, &r) {
		return &license.Error{Reason: r}, true
	}
	return nil, false
}
