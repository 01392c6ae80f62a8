package authority

import (
	"fmt"
	"maps"
	"slices"
	"strings"
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
	ProblemProbesHalf        ProblemCode = "probes_half" // those of the morning or of the afternoon do not come
	ProblemProbesGone        ProblemCode = "probes_gone" // the product is off sale, or frozen
	ProblemBadDays           ProblemCode = "bad_days"
	ProblemSignatures        ProblemCode = "signatures_refused"
	ProblemTimes             ProblemCode = "times_refused"
	ProblemCallbacksFailed   ProblemCode = "callbacks_failed"
	ProblemCallbacksRefused  ProblemCode = "callbacks_refused"
	ProblemMessagesFailing   ProblemCode = "messages_failing"
	ProblemOrdersLost        ProblemCode = "orders_lost"
	ProblemV1Off             ProblemCode = "v1_off"
	ProblemUsageRefused      ProblemCode = "usage_refused"
	ProblemCertificate       ProblemCode = "certificate_ends"
	ProblemOutboxParked      ProblemCode = "outbox_parked"
	ProblemOutboxLate        ProblemCode = "outbox_late"
	ProblemComparisonFailed  ProblemCode = "comparison_failed"
	ProblemComparisonStalled ProblemCode = "comparison_stalled"
	ProblemOrdersToDeliver   ProblemCode = "orders_to_deliver"
	ProblemOrdersNoAnswer    ProblemCode = "orders_no_answer"
	ProblemOrdersRejected    ProblemCode = "orders_rejected"
)

// NotProbed reports whether the problem is that probes fail or do not come now.
// Days that were bad before, and a product that is off sale, are another thing.
func (c ProblemCode) NotProbed() bool {
	return c == ProblemProbesRefused || c == ProblemProbesMissing
}

// When something is late.
const (
	probesWithin  = 24 * time.Hour // two come in a day
	probesCase    = 36 * time.Hour // a debug case that newer probes leave out for so long is not replayed any more
	failingSoon   = time.Hour      // after which messages that all fail are no accident
	toldFor       = 48 * time.Hour // how long a message that failed is told of
	outboxWithin  = time.Hour      // of a job
	compareWithin = 36 * time.Hour // one takes 20 hours
	certWarn      = 21 * 24 * time.Hour
	certFail      = 7 * 24 * time.Hour
)

// LostOrders is the number of orders in a month beyond which the marketplace
// takes a product down, where they did not get their licence (guide of licence
// 1.0); lostFail is when it is high time.
const (
	LostOrders = 5
	lostFail   = 3
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

func (h *Health) judge(r *healthRecord, local time.Time) {
	h.Standings, h.Failing = r.Standings, r.Failing
	h.judgeProbes()
	h.judgeCallbacks()
	h.judgeFailing(local)
	h.judgeDoubted(r)
	h.judgeJobs()
	h.judgeUsage()
	h.judgeComparison()
	h.judgeOrders()
	h.judgeCertificate()
}

func (h *Health) problem(code ProblemCode, level Level, mend, format string, args ...any) {
	h.Problems = append(h.Problems, Problem{code, level, fmt.Sprintf(format, args...), mend})
}

func (h *Health) judgeProbes() {
	switch {
	case h.FirstProbe.IsZero():
		h.problem(ProblemNoProbes, LevelNote, "save a debug case in the seller console for each interface before the product goes on sale; "+
			"if it is on sale already, look at its production address there", "no probe of the marketplace has come yet")
		return
	case h.Gone:
		h.problem(ProblemProbesGone, LevelWarn, "if the product is on sale, ask the marketplace whether it was frozen; if it was taken off sale, this is as it should be",
			"no probe has come since %s, for %d days or more: the product is off sale, or frozen", moment(h.LastProbe), healthDays-1)
		return
	}
	refused := h.refusedProbes()
	if len(refused) > 0 {
		h.problem(ProblemProbesRefused, LevelFail, "mend its debug case in the seller console, or what the daemon's log says of it, and replay it there",
			"%s refused: %s", plural(len(refused), "kind of probe was", "kinds of probes were"), list(refused, mostNamed))
	}
	missing := h.Now.Sub(h.LastProbe) > probesWithin
	switch {
	case missing:
		h.problem(ProblemProbesMissing, LevelWarn, "see whether the address can be reached from outside (name, certificate, proxy, firewall) and is "+
			"the one in the seller console; run licensectl marketplace status --self-test; if the product was taken off sale, this is as it should be",
			"no probe has come since %s; the marketplace probes twice a day", moment(h.LastProbe))
	case h.HalfDays > 1:
		h.problem(ProblemProbesHalf, LevelWarn, "see whether the address can be reached at all hours (backups, nightly restarts, firewall), and whether the probes "+
			"that are missing failed in the seller console", "of the two probes of a day one did not come, on %d days in a row", h.HalfDays)
	}
	h.judgeBadDays(len(refused) > 0 || missing)
}

// refusedProbes are the debug cases that were refused when they were replayed
// last. What newer probes leave out is not replayed any more.
func (h *Health) refusedProbes() (out []string) {
	for _, s := range h.Standings {
		if s.Test && s.Failing() && h.LastProbe.Sub(s.Last) < probesCase {
			out = append(out, fmt.Sprintf("%s with %s, last at %s", s.Activity, fieldText(s.Refusal, s.Field), moment(s.LastRefused)))
		}
	}
	return out
}

// judgeBadDays counts the days up to the freeze; now says that probes fail, or
// do not come, still.
func (h *Health) judgeBadDays(now bool) {
	level, mend := LevelFail, "mend it now: what is wrong stands beside this"
	switch {
	case h.BadDays == 0:
		return
	case h.BadDays >= BadDaysFreeze:
		mend = "mend what keeps probes from succeeding, then have trading unfrozen in the seller console"
		if !now {
			mend = "the newest probes succeed; see in the seller console whether trading is frozen, and have it unfrozen"
		}
		h.problem(ProblemBadDays, level, mend, "probes were refused or missing on %d days in a row: trading may be frozen and the product hidden already", h.BadDays)
		return
	case !now:
		level, mend = LevelWarn, "the newest probes succeed, so nothing is left to mend; it is over with the first day on which none is refused"
	case h.BadDays == 1:
		level, mend = LevelWarn, "mend it: what is wrong stands beside this"
	}
	h.problem(ProblemBadDays, level, mend, "probes were refused or missing on %s; after %d in a row the marketplace freezes trading and hides the product",
		row(h.BadDays), BadDaysFreeze)
}

func row(days int) string {
	if days == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days in a row", days)
}

// judgeCallbacks looks at the real messages of today and yesterday.
func (h *Health) judgeCallbacks() {
	type sum struct{ failed, refused int }
	sums := make(map[string]sum)
	for _, d := range h.recent() {
		for _, c := range d.Callbacks {
			s := sums[c.Activity]
			switch {
			case c.Test:
			case c.Result == resultInternal:
				s.failed += c.Count
			case failed(c.Result):
				s.refused += c.Count
			}
			sums[c.Activity] = s
		}
	}
	var total sum
	var failures, refusals []string
	for _, activity := range slices.Sorted(maps.Keys(sums)) {
		s := sums[activity]
		total.failed, total.refused = total.failed+s.failed, total.refused+s.refused
		if s.failed > 0 {
			failures = append(failures, fmt.Sprintf("%s %d, which is %s", activity, s.failed, givesUp(activity).says))
		}
		if s.refused > 0 {
			refusals = append(refusals, fmt.Sprintf("%s %d%s, which is %s", activity, s.refused, h.lastRefusal(activity), givesUp(activity).says))
		}
	}
	if total.failed > 0 {
		level, none := h.allFail(func(result string) bool { return result == resultInternal })
		h.problem(ProblemCallbacksFailed, level, "look for \"callback failed\" in the log; restart in the seller console what was given up there",
			"%s failed here since yesterday (%s): %s%s", plural(total.failed, "call of the marketplace", "calls of the marketplace"), resultInternal, list(failures, mostNamed), none)
	}
	if total.refused > 0 {
		level, none := h.allFail(func(result string) bool { return result != resultInternal })
		h.problem(ProblemCallbacksRefused, level, "look for \"callback refused\" in the log, which says why; restart in the seller console what was given up there",
			"%s refused since yesterday: %s%s", plural(total.refused, "call of the marketplace was", "calls of the marketplace were"), list(refusals, mostNamed), none)
	}
}

// recent are today and yesterday.
func (h *Health) recent() []DayHealth { return h.Days[max(0, len(h.Days)-2):] }

// lastRefusal is the last refusal of an activity's messages.
func (h *Health) lastRefusal(activity string) string {
	for _, s := range h.Standings {
		if s.Activity == activity && !s.Test && s.Refusal != "" {
			return " (" + fieldText(s.Refusal, s.Field) + ")"
		}
	}
	return ""
}

// allFail is the level of failures: they lead to a delisting where every message
// of an activity has failed for a while. Of those with another code none is
// looked at.
func (h *Health) allFail(code func(result string) bool) (level Level, none string) {
	for _, s := range h.Standings {
		if s.Test || !s.Failing() || s.Refused < 2 || !code(s.Refusal) {
			continue
		}
		if h.Now.Sub(s.LastRefused) < toldFor && h.Now.Sub(s.Since) >= failingSoon {
			return LevelFail, fmt.Sprintf("; none of %s has succeeded since %s", s.Activity, moment(s.Since))
		}
	}
	return LevelWarn, ""
}

// judgeFailing looks at what has failed and not succeeded since, by order,
// instance and code: first at the orders of the month that are lost by it.
func (h *Health) judgeFailing(local time.Time) {
	var lost, others []Failing
	for _, f := range h.Failing {
		if f.Lost() && sameMonth(f.Since.In(local.Location()), local) {
			lost = append(lost, f)
		} else {
			others = append(others, f)
		}
	}
	h.Lost = len(lost)
	if len(lost) > 0 {
		level := LevelWarn
		if len(lost) >= lostFail {
			level = LevelFail
		}
		h.problem(ProblemOrdersLost, level, "mend what the log says and restart the message in the seller console, or deliver by hand",
			"%s of this month did not get a licence, the oldest %s; after more than %d in a month the marketplace takes the product down",
			plural(len(lost), "order", "orders"), h.failingText(lost[0]), LostOrders)
	}
	if len(others) > 0 {
		h.problem(ProblemMessagesFailing, LevelWarn, "mend what the log says, then restart in the seller console what was given up",
			"%s not succeeded since, the oldest about %s", plural(len(others), "message failed and has", "messages failed and have"), h.failingText(others[0]))
	}
}

func sameMonth(a, b time.Time) bool { return a.Year() == b.Year() && a.Month() == b.Month() }

// failingText is one that fails: since when, how often, and for how long the
// marketplace goes on.
func (h *Health) failingText(f Failing) string {
	until := ""
	if at := f.GivesUpAt(); at.After(h.Now) {
		until = "; the marketplace gives up at " + moment(at)
	} else if !at.IsZero() {
		until = "; the marketplace gave up at " + moment(at)
	}
	return fmt.Sprintf("%s %s (%s, %s since %s, last with %s%s)", f.Kind, f.Name, f.Activity,
		plural(f.Times, "time", "times"), moment(f.Since), fieldText(f.Result, f.Field), until)
}

// judgeDoubted looks at what did not verify. Anybody can send that: it is the
// marketplace's own only where the marketplace has called before, and nothing of
// it verifies any more.
func (h *Health) judgeDoubted(r *healthRecord) {
	doubted := make(map[Doubted]int)
	for _, d := range h.recent() {
		for kind, n := range d.Doubted {
			doubted[kind] += n
		}
	}
	level := LevelNote
	authentic := newer(r.LastProbe, r.LastMessage)
	if h.Now.Sub(authentic) > probesWithin && h.Now.Sub(r.LastDoubted) < probesWithin {
		if level = LevelWarn; !h.LastProbe.IsZero() && !h.Gone {
			level = LevelFail
		}
	}
	if n := doubted[DoubtSignature]; n > 0 {
		h.problem(ProblemSignatures, level, "compare the key in the files of access_key_files with the one that the seller console binds to this address",
			"%s since yesterday had a signature by none of the access keys%s", plural(n, "call", "calls"), sole(level))
	}
	if n := doubted[DoubtTime]; n > 0 {
		h.problem(ProblemTimes, level, "compare the clock with another one; a call may be 60 s off",
			"%s since yesterday had a time too far from the clock here%s", plural(n, "call", "calls"), sole(level))
	}
	if n := doubted[DoubtV1]; n > 0 {
		h.problem(ProblemV1Off, LevelNote, "if a product is still sold over licence 1.0, set license_v1; else have its production address taken out of the seller console",
			"%s of licence 1.0 (GET), which is switched off, came since yesterday; it may have been a stranger", plural(n, "call", "calls"))
	}
}

func sole(l Level) string {
	switch l {
	case LevelFail:
		return ", and none was in order"
	case LevelWarn:
		return ", and none was in order; it may have been a stranger"
	case LevelNote:
	}
	return "; others were in order, so it may have been a stranger"
}

func (h *Health) judgeJobs() {
	if h.Parked > 0 {
		h.problem(ProblemOutboxParked, LevelWarn, "see licensectl marketplace outbox list --parked, then outbox retry or outbox drop",
			"%s given up: the marketplace was not told; the oldest at %s: %s", plural(h.Parked, "call was", "calls were"), moment(h.ParkedOldest), h.ParkedFailure)
	}
	if age := h.Now.Sub(h.Oldest); !h.Oldest.IsZero() && age > outboxWithin {
		why := h.Failure
		if why == "" {
			why = "it was not tried yet"
		}
		h.problem(ProblemOutboxLate, LevelWarn, "see licensectl marketplace outbox; it is tried again by itself",
			"%s for the marketplace, the oldest since %s: %s", plural(h.Waiting, "call waits", "calls wait"), moment(h.Oldest), why)
	}
}

// plural is a number of things.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (h *Health) judgeUsage() {
	u := h.Usage
	if u == nil || u.Refused+u.Unreadable == 0 && !u.Unread {
		return
	}
	var what []string
	if u.Refused > 0 {
		what = append(what, "the marketplace did not take "+plural(u.Refused, "code", "codes"))
	}
	if u.Unread {
		what = append(what, "it refused codes of which it cannot be read which")
	}
	if u.Unreadable > 0 {
		what = append(what, plural(u.Unreadable, "code", "codes")+" cannot be read here")
	}
	h.problem(ProblemUsageRefused, LevelWarn, "the audit log names their licences ("+string(license.ActionUsageRefused)+"); see in the seller console what became of the codes",
		"of the report of use of %s: %s", u.Day, strings.Join(what, "; "))
}

func (h *Health) judgeCertificate() {
	left := h.Certificate.Sub(h.Now)
	if h.Certificate.IsZero() || left > certWarn {
		return
	}
	level := LevelWarn
	if left <= certFail {
		level = LevelFail
	}
	const mend = "renew it and put it in place of the files of public.tls, which are read again; the marketplace refuses one that has run out"
	if left <= 0 {
		h.problem(ProblemCertificate, level, mend, "the certificate of the public listener ran out at %s", moment(h.Certificate))
		return
	}
	h.problem(ProblemCertificate, level, mend, "the certificate of the public listener ends at %s, in %s",
		moment(h.Certificate), plural(int(left/(24*time.Hour)), "day", "days"))
}

func (h *Health) judgeComparison() {
	if c := h.Compared; c != nil && c.Failed > 0 {
		named := ""
		if len(h.Unproven) > 0 {
			named = ", as " + strings.Join(h.Unproven, ", ")
		}
		h.problem(ProblemComparisonFailed, LevelWarn, "run licensectl marketplace sync, which names them",
			"in the last comparison the marketplace said nothing that could be believed of %d of %s%s: %s",
			c.Failed, plural(c.Checked, "code", "codes"), named, c.Failure)
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
		warning   license.OrderWarning
		code      ProblemCode
		one, many string
		mend      string
	}{
		{
			license.WarnDeliver, ProblemOrdersToDeliver,
			"order has waited for delivery or its proof for more than a day", "orders have waited for delivery or their proof for more than a day",
			"deliver, and say so in the seller console",
		},
		{
			license.WarnBuyer, ProblemOrdersNoAnswer,
			"order has waited for the buyer's acceptance for more than 5 days", "orders have waited for the buyer's acceptance for more than 5 days",
			"ask the buyer, or appeal in the seller console with the proof of delivery",
		},
		{
			license.WarnRejections, ProblemOrdersRejected, "order was rejected 3 times or more", "orders were rejected 3 times or more",
			"at the next delivery you may appeal, with the proof of delivery",
		},
	} {
		if n := h.Orders.Warnings[w.warning]; n > 0 {
			h.problem(w.code, LevelWarn, w.mend+"; licensectl order list --warned names them", "%s, as %s", plural(n, w.one, w.many), h.Orders.Example[w.warning])
		}
	}
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
