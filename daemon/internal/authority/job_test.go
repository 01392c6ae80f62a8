package authority_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// A delivery whose answer is lost is made again, with the same licence.
func TestDeliveryAnswerLost(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		m.desk.loseOne()
		m.must(m.apply(id, "event-1", pc), "")
		time.Sleep(time.Hour)
		synctest.Wait()
		files := m.desk.files("event-1")
		if len(files) != 2 || m.licence(files[0]).Raw != m.licence(files[1]).Raw || m.events(license.ActionDeliver) != 1 {
			t.Errorf("delivered %d times, recorded %d", len(files), m.events(license.ActionDeliver))
		}
	})
}

// A marketplace that takes no licence for an application any more, after one that
// it did not answer, has got it. Where every attempt was answered that is a
// failure which somebody has to look at.
func TestDeliveryAnswerLostAndClosed(t *testing.T) {
	t.Parallel()
	closed := license.Errorf(license.Forbidden, "the marketplace refuses").WithCause(authority.ErrNoApplication)
	for _, lost := range []string{"answer", "process", "nothing"} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			inMarket(t, func(m *market) {
				id := m.buy("CS1")
				synctest.Wait()
				switch lost {
				case "answer":
					m.desk.set(errUnreachable)
					m.must(m.apply(id, "event-1", pc), "")
					synctest.Wait()
				case "process":
					m.desk.hang(true)
					m.must(m.apply(id, "event-1", pc), "")
					synctest.Wait()
					m.stop()
					m.desk.hang(false)
					m.again()
				default:
					m.desk.set(closed)
					m.must(m.apply(id, "event-1", pc), "")
					synctest.Wait()
				}
				m.desk.set(closed)
				if lost == "process" {
					m.run()
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if lost == "nothing" {
					if jobs := m.jobs(); len(jobs) != 1 || jobs[0].State() != license.JobParked {
						t.Errorf("nothing was parked: %+v", jobs)
					}
					return
				}
				if jobs := m.jobs(); len(jobs) != 0 || m.events(license.ActionDeliver) != 1 {
					t.Errorf("left over: %+v", jobs)
				}
			})
		})
	}
}

// What the marketplace refuses for good is parked, with the reason, and done when
// the merchant has it tried again.
func TestJobParked(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.set(license.Errorf(license.Forbidden, "License apply has been denied."))
		id := m.buy("CS1")
		synctest.Wait()
		time.Sleep(30 * day)
		synctest.Wait()
		jobs := m.jobs()
		if len(jobs) != 1 || jobs[0].ParkedAt.IsZero() || jobs[0].Attempts != 1 || jobs[0].Failure != "forbidden: License apply has been denied." ||
			m.events(license.ActionJobPark) != 1 || !m.reported()[len(m.reported())-1].Parked {
			t.Fatalf("parked: %+v", jobs)
		}
		m.desk.set(nil)
		if _, err := m.a.RetryJob(m.t.Context(), admin, jobs[0].ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if m.instance(id).Machines != 2 || len(m.jobs()) != 0 || m.events(license.ActionJobRetry) != 1 {
			t.Errorf("left over: %v", m.jobs())
		}
		_, err := m.a.RetryJob(m.t.Context(), admin, jobs[0].ID)
		m.must(err, license.NotFound)
	})
}

// An unreachable marketplace is asked less and less often, and in the end not at
// all.
func TestJobRetries(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.set(errUnreachable)
		_ = m.buy("CS1")
		var asked []int
		for range 5 {
			time.Sleep(6 * time.Hour)
			synctest.Wait()
			asked = append(asked, m.desk.times())
		}
		if asked[0] < 10 || asked[0] > 20 || asked[4] != 20 || len(m.jobs()) != 1 || m.jobs()[0].ParkedAt.IsZero() {
			t.Errorf("asked %v times, %+v", asked, m.jobs())
		}
		if _, err := m.a.DropJob(m.t.Context(), admin, m.jobs()[0].ID); err != nil || len(m.jobs()) != 0 || m.events(license.ActionJobDrop) != 1 {
			t.Errorf("%v, %v", err, m.jobs())
		}
	})
}

// Deliveries of one instance keep their order, those of several do not wait for
// each other.
func TestJobsOfOneInstanceKeepTheirOrder(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.sell("CS2 CS2-1", m.desk.order("CS1 CS1-1"))
		one := m.buy("CS1")
		synctest.Wait()
		m.desk.set(errUnreachable)
		m.must(m.apply(one, "event-1", pc), "")
		synctest.Wait()
		m.must(m.apply(one, "event-2", "HW-2"), "")
		synctest.Wait()
		if asked := m.desk.times(); asked != 2 { // the order, and the first delivery
			t.Errorf("asked %d times", asked)
		}
		m.desk.set(nil)
		two := m.buy("CS2")
		synctest.Wait()
		m.must(m.apply(two, "event-3", pc), "")
		synctest.Wait()
		if len(m.desk.files("event-3")) != 1 || len(m.desk.files("event-2")) != 0 {
			t.Errorf("delivered: %d of the other, %d out of order", len(m.desk.files("event-3")), len(m.desk.files("event-2")))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(m.desk.files("event-1")) != 1 || len(m.desk.files("event-2")) != 1 {
			t.Error("not delivered")
		}
	})
}
