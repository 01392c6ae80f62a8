package wire

import (
	"errors"

	"github.com/seed-357fa782/licensed/license"
)

// asError finds the licence error in err, or makes one of a bare reason.
func asError(err error) (*license.Error, bool) {
	if e, ok := errors.AsType[*license.Error](err); ok {
		return e, true
	}
	if r, ok := errors.AsType[license.Reason](err); ok {
		return &license.Error{Reason: r}, true
	}
	return nil, false
}
