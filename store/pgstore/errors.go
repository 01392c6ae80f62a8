package pgstore

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/seed-357fa782/licensed/license"
)

// connectError: no connection was to be had, so nothing has happened.
type connectError struct{ err error }

func (e *connectError) Error() string { return e.err.Error() }
func (e *connectError) Unwrap() error { return e.err }

// lostError: the commit was sent and not answered. It would have led from one
// head of the audit log to another.
type lostError struct {
	err           error
	before, after license.AuditHead
	group         int64
}

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// unsureError: the commit was sent and nobody knows what became of it.
type unsureError struct{ err error }

func (e *unsureError) Error() string { return "the commit was not answered: " + e.err.Error() }
func (e *unsureError) Unwrap() error { return e.err }

// undoneError: the connection was lost at the commit, and nothing of it is there.
type undoneError struct{ err error }

func (e *undoneError) Error() string { return "the commit was lost: " + e.err.Error() }
func (e *undoneError) Unwrap() error { return e.err }

// behindError: another daemon was at its turn, and has changed the head.
type behindError struct{ err error }

func (e *behindError) Error() string { return e.err.Error() }
func (e *behindError) Unwrap() error { return e.err }

// errSetBack: the audit log does not hold any more what it held. An asynchronous
// standby has taken the place of the server, or a copy was put in its place.
func errSetBack(known, is license.AuditHead) error {
	return license.Errorf(license.ReadOnly,
		"the database has lost changes that it had confirmed: its audit log stood at %d, and stands at %d without entry %s; "+
			"nothing is changed until the daemon is restarted, which compares the two", known.Seq, is.Seq, known)
}

// The SQLSTATEs that are told apart.
const (
	stateWarning       = "01000" // of a commit: somebody has cancelled its wait for the standby
	stateSerialization = "40001"
	stateDeadlock      = "40P01"
	stateUnique        = "23505"
	stateUnsupported   = "0A000" // a plan that a migration has made stale, which pgx prepares anew; or a standby
	stateReadOnly      = "25006"
	stateLockTimeout   = "55P03"
	stateCancelled     = "57014"
	stateUnknown       = "40003"
	stateIdle          = "25P03" // the daemon said nothing for too long
)

func stateOf(err error) string {
	if pg, is := errors.AsType[*pgconn.PgError](err); is {
		return pg.Code
	}
	return ""
}

// stateClass is the first two characters of a SQLSTATE.
func stateClass(state string) string { return state[:min(len(state), 2)] }

// isLost reports whether the connection was lost or the server ended it, so that
// what was sent last may have been done.
func isLost(err error) bool {
	var ours *license.Error
	switch state := stateOf(err); {
	case errors.As(err, &ours):
		return false
	case state == "", state == stateUnknown, state == stateCancelled, state == stateIdle:
		return true
	default:
		return stateClass(state) == "08" || stateClass(state) == "57" || stateClass(state) == "58"
	}
}

// canRepeat reports whether what failed can be run once more: after a conflict
// with another daemon, and, once or twice, where a connection turned out to be
// dead. A key that was not there when it was looked for and is when it is
// written was a conflict, too.
func canRepeat(err error, attempt int) bool {
	var unsure *unsureError
	var undone *undoneError
	var connect *connectError
	var guess guessError
	switch state := stateOf(err); {
	case errors.As(err, &unsure), errors.As(err, &connect):
		return false
	case errors.As(err, &guess):
		return true // without guesses
	case errors.As(err, &undone):
		return attempt < 2
	case state == stateSerialization, state == stateDeadlock, state == stateUnique:
		return true
	case state == stateUnsupported, state == stateReadOnly:
		return attempt == 0 // on a new connection, which may lead to another server
	case state == stateLockTimeout, state == stateCancelled:
		return false
	}
	return isLost(err) && attempt < 2
}

// retryAfter is when what failed for want of a database is worth another try.
const retryAfter = 2 * time.Second

// asConnectError says why the first connection of a store fails: a server that
// refuses this user or has no such database is not worth another try by itself, nor is one
// whose certificate is not what it has to be.
func asConnectError(err error) error {
	var certificate *tls.CertificateVerificationError
	switch state := stateOf(err); {
	case stateClass(state) == "28", state == "3D000", state == "42501", errors.As(err, &certificate):
		return license.Errorf(license.Internal, "the database refuses the connection, or is not the one that is meant").WithCause(err)
	}
	return asError(&connectError{err})
}

// asError says what a failure of the database means to a caller. The cause is for the log.
func asError(err error) error {
	var ours *license.Error
	var unsure *unsureError
	var connect *connectError
	state := stateOf(err)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours):
		return err
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &unsure):
		return license.Errorf(license.Internal, "the database did not say whether it has made the change; try again").
			WithRetryAfter(retryAfter).WithCause(err)
	case state == stateReadOnly, state == stateUnsupported:
		return license.Errorf(license.ReadOnly, "the database takes no changes at present").WithRetryAfter(retryAfter).WithCause(err)
	case state == stateSerialization, state == stateDeadlock, state == stateUnique, state == stateLockTimeout:
		return license.Errorf(license.ReadOnly, "the database is busy with other changes").WithRetryAfter(retryAfter).WithCause(err)
	case errors.As(err, &connect), isLost(err), stateClass(state) == "53":
		return license.Errorf(license.ReadOnly, "the database cannot be reached at present").WithRetryAfter(retryAfter).WithCause(err)
	}
	return license.Errorf(license.Internal, "the database refused a statement").WithCause(err)
}
