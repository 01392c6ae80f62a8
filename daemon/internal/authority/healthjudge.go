package authority

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Level is how much a Problem matters.
type Level string

// The levels.
const (
	LevelNote Level = "note" // worth knowing
	LevelWarn Level = "warn" // somebody should look at it
	LevelFail Level = "fail" // left alone, it leads to a delisting
)

// Problem is something about an entry that somebody may have to act on.
type Problem struct {
	Code   ProblemCode
	Level  Level
	Detail string // what is wrong
	Mend   string // what to do about it
}

// ProblemCode names a kind of problem, for programs.
type ProblemCode string

// The problems. docs/operations.md explains each.
const (
	ProblemNoProbes          ProblemCode = "no_probes" // none ever
	ProblemProbesRefused     ProblemCode = "probes_refused"
	ProblemProbesMissing     ProblemCode = "probes_missing"
	ProblemBadDays           ProblemCode = "bad_days"
	ProblemSignatures        ProblemCode = "signatures_refused"
	ProblemTimes             ProblemCode = "times_refused"
	ProblemCallbacksFailed   ProblemCode = "callbacks_failed"
	ProblemCallbacksRefused  ProblemCode = "callbacks_refused"
	ProblemOutboxParked      ProblemCode = "outbox_parked"
	ProblemOutboxLate        ProblemCode = "outbox_late"
	ProblemComparisonFailed  ProblemCode = "comparison_failed"
	ProblemComparisonStalled ProblemCode = "comparison_stalled"
	ProblemOrdersToDeliver   ProblemCode = "orders_to_deliver"
	ProblemOrdersNoAnswer    ProblemCode = "orders_no_answer"
	ProblemOrdersRejected    ProblemCode = "orders_rejected"
)

// AboutProbes reports whether the problem is that probes fail or do not come.
func (c ProblemCode) AboutProbes() bool {
	return c == ProblemProbesRefused || c == ProblemProbesMissing || c == ProblemBadDays
}

// When something is late.
const (
	probesWithin  = 24 * time.Hour // two come in a day
	outboxWithin  = time.Hour
	compareWithin = 36 * time.Hour // one takes 20 hours
)

// Level is that of the worst problem, "" where there is none.
func (h Health) Level() (worst Level) {
	rank := map[Level]int{LevelNote: 1, LevelWarn: 2, LevelFail: 3}
	for _, p := range h.Problems {
		if rank[p.Level] > rank[worst] {
			worst = p.Level
		}
	}
	return worst
}

func (h *Health) judge(r *healthRecord) {
	h.judgeProbes()
	h.judgeCallbacks(r)
	h.judgeJobs()
	h.judgeComparison()
	h.judgeOrders()
}

func (h *Health) problem(code ProblemCode, level Level, mend, format string, args ...any) {
	h.Problems = append(h.Problems, Problem{code, level, fmt.Sprintf(format, args...), mend})
}

func (h *Health) judgeProbes() {
	if h.FirstProbe.IsZero() {
		h.problem(ProblemNoProbes, LevelNote, "save a debug case in the seller console for each interface before the product goes on sale; "+
			"if it is on sale already, look at its production address there", "no probe of the marketplace has come yet")
		return
	}
	gone := h.BadDays >= healthDays-1 // today may not be over
	if half, when, ok := h.lastProbes(); ok && half.Refused > 0 && !gone {
		h.problem(ProblemProbesRefused, LevelFail, "mend its debug case in the seller console, or what the daemon's log says of it, and replay it there",
			"%d of %d probes were refused %s, the last with %s (%s)", half.Refused, half.Refused+half.OK, when, half.Result, half.Reason)
	}
	switch {
	case gone:
		h.problem(ProblemProbesMissing, LevelWarn, "if the product is on sale, ask the marketplace whether it was frozen",
			"no good probe has come for %d days or more: the product is off sale, or frozen", h.BadDays)
		return
	case h.Now.Sub(h.LastProbe) > probesWithin:
		h.problem(ProblemProbesMissing, LevelWarn, "see whether the address can be reached from outside (name, certificate, proxy, firewall) and is "+
			"the one in the seller console; run licensectl marketplace status --self-test; if the product was taken off sale, this is as it should be",
			"no probe has come since %s; the marketplace probes twice a day", moment(h.LastProbe))
	}
	switch {
	case h.BadDays >= BadDaysFreeze:
		h.problem(ProblemBadDays, LevelFail, "mend what keeps probes from succeeding, then have trading unfrozen in the seller console",
			"probes were refused or missing on %d days in a row: trading may be frozen and the product hidden already", h.BadDays)
	case h.BadDays > 1:
		h.problem(ProblemBadDays, LevelFail, "mend it now: what is wrong stands beside this",
			"probes were refused or missing on %d days in a row; after %d the marketplace freezes trading and hides the product", h.BadDays, BadDaysFreeze)
	case h.BadDays == 1:
		h.problem(ProblemBadDays, LevelWarn, "mend it: what is wrong stands beside this",
			"probes were refused or missing on 1 day; after %d in a row the marketplace freezes trading and hides the product", BadDaysFreeze)
	}
}

// lastProbes returns the counts of the newest half of a day that had probes.
func (h *Health) lastProbes() (half ProbeCount, when string, ok bool) {
	for _, d := range slices.Backward(h.Days) {
		if d.Afternoon.OK+d.Afternoon.Refused > 0 {
			return d.Afternoon, "in the afternoon of " + d.Day, true
		}
		if d.Morning.OK+d.Morning.Refused > 0 {
			return d.Morning, "in the morning of " + d.Day, true
		}
	}
	return ProbeCount{}, "", false
}

// judgeCallbacks looks at today and yesterday.
func (h *Health) judgeCallbacks(r *healthRecord) {
	var failed, refused int
	doubted := make(map[Doubted]int)
	example := CallbackCount{}
	for _, d := range h.Days[max(0, len(h.Days)-2):] {
		for _, c := range d.Callbacks {
			switch {
			case c.Test:
			case c.Result == "000005":
				failed += c.Count
			case c.Result == "000002" || c.Result == "000003":
				refused += c.Count
				example = c
			}
		}
		for kind, n := range d.Doubted {
			doubted[kind] += n
		}
	}
	if failed > 0 {
		h.problem(ProblemCallbacksFailed, LevelWarn, "look for \"callback failed\" in the log; restart in the seller console what was given up there",
			"%d calls of the marketplace since yesterday failed here (000005); it repeats each 60 times, every 2 minutes", failed)
	}
	if refused > 0 {
		h.problem(ProblemCallbacksRefused, LevelWarn, "look for \"callback refused\" in the log, which says why",
			"%d calls of the marketplace since yesterday were refused, as %s with %s", refused, example.Activity, example.Result)
	}
	// Anybody can send what does not verify: it is the marketplace's own only
	// where nothing of the marketplace verifies any more.
	level := LevelNote
	if authentic := newer(r.LastProbe, r.LastMessage); h.Now.Sub(authentic) > probesWithin && h.Now.Sub(r.LastDoubted) < probesWithin {
		level = LevelFail
	}
	if n := doubted[DoubtSignature]; n > 0 {
		h.problem(ProblemSignatures, level, "compare the key in the files of access_key_files with the one that the seller console binds to this address",
			"%d calls since yesterday had a signature by none of the access keys%s", n, sole(level))
	}
	if n := doubted[DoubtTime]; n > 0 {
		h.problem(ProblemTimes, level, "compare the clock with another one; a call may be 60 s off",
			"%d calls since yesterday had a time too far from the clock here%s", n, sole(level))
	}
}

func sole(l Level) string {
	if l == LevelFail {
		return ", and none was in order"
	}
	return "; others were in order, so it may have been a stranger"
}

func (h *Health) judgeJobs() {
	if h.Parked > 0 {
		h.problem(ProblemOutboxParked, LevelWarn, "see licensectl marketplace outbox list --parked, then outbox retry or outbox drop",
			"%s given up: the marketplace was not told", calls(h.Parked, "was", "were"))
	}
	if age := h.Now.Sub(h.Oldest); !h.Oldest.IsZero() && age > outboxWithin {
		why := h.Failure
		if why == "" {
			why = "it was not tried yet"
		}
		h.problem(ProblemOutboxLate, LevelWarn, "see licensectl marketplace outbox; it is tried again by itself",
			"%s for the marketplace, the oldest since %s: %s", calls(h.Waiting, "waits", "wait"), moment(h.Oldest), why)
	}
}

func calls(n int, one, many string) string {
	if n == 1 {
		return "1 call " + one
	}
	return fmt.Sprintf("%d calls %s", n, many)
}

func (h *Health) judgeComparison() {
	if c := h.Compared; c != nil && c.Failed > 0 {
		h.problem(ProblemComparisonFailed, LevelWarn, "run licensectl marketplace sync, which names them",
			"in the last comparison the marketplace said nothing that could be believed of %d of %d codes: %s", c.Failed, c.Checked, c.Failure)
	}
	c := h.Comparing
	if c != nil && h.Now.Sub(c.BegunAt) > compareWithin && (h.Compared == nil || h.Compared.EndedAt.Before(c.BegunAt)) {
		h.problem(ProblemComparisonStalled, LevelWarn, "see whether the open API can be reached and the keys in open_api are right; then run licensectl marketplace sync",
			"the comparison with the marketplace that began %s has not come to its end", moment(c.BegunAt))
	}
}

func (h *Health) judgeOrders() {
	if h.Orders == nil {
		return
	}
	for _, w := range []struct {
		warning    license.OrderWarning
		code       ProblemCode
		what, mend string
	}{
		{license.WarnDeliver, ProblemOrdersToDeliver, "for delivery or its proof for more than a day", "deliver, and say so in the seller console"},
		{license.WarnBuyer, ProblemOrdersNoAnswer, "for the buyer's acceptance for more than 5 days", "ask the buyer, or appeal in the seller console with the proof of delivery"},
		{license.WarnRejections, ProblemOrdersRejected, "and were rejected 3 times or more", "at the next delivery you may appeal, with the proof of delivery"},
	} {
		if n := h.Orders.Warnings[w.warning]; n > 0 {
			h.problem(w.code, LevelWarn, w.mend, "%d orders wait %s, as %s", n, w.what, h.Orders.Example[w.warning])
		}
	}
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
