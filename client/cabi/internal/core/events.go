package core

import (
	"time"

	"github.com/seed-357fa782/licensed/client"
)

// NextEvent waits for an event of a guard, for a time at most; a negative one is
// no limit.
func NextEvent(g *client.Guard, timeoutMS int64) (client.Event, error) {
	over := make(<-chan time.Time)
	if timeoutMS >= 0 {
		select { // what is there comes first, even where no time is left
		case e, ok := <-g.Events():
			return nextOf(e, ok)
		default:
		}
		timer := time.NewTimer(time.Duration(min(timeoutMS, mostMS)) * time.Millisecond)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case e, ok := <-g.Events():
		return nextOf(e, ok)
	case <-over:
		return client.Event{}, &Failure{Code: ErrTimeout, Detail: "nothing has changed"}
	}
}

func nextOf(e client.Event, ok bool) (client.Event, error) {
	if !ok {
		return e, &Failure{Code: ErrClosed, Detail: "there are no events any more"}
	}
	return e, nil
}

// KindOf is the number of what an event is about, 0 for what is not known here.
func KindOf(k client.EventKind) int32 {
	switch k {
	case client.EventExpiring:
		return 1
	case client.EventGrace:
		return 2
	case client.EventBlocked:
		return 3
	case client.EventRevoked:
		return 4
	case client.EventRestored:
		return 5
	case client.EventLicense:
		return 6
	case client.EventClock:
		return 7
	case client.EventMachine:
		return 8
	case client.EventTrouble:
		return 9
	case client.EventReached:
		return 10
	}
	return 0
}
