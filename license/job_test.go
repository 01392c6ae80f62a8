package license_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

func TestJobCheck(t *testing.T) {
	at := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	longest := `"` + strings.Repeat("x", license.MaxJobPayload-2) + `"`
	for name, test := range map[string]struct {
		job   license.Job
		field string // empty: it is good
	}{
		"nothing to know":  {license.Job{DueAt: at}, ""},
		"empty payload":    {license.Job{DueAt: at, Payload: json.RawMessage{}}, ""},
		"an object":        {license.Job{DueAt: at, Payload: json.RawMessage(`{"a":[1,null]}`)}, ""},
		"longest":          {license.Job{DueAt: at, Payload: json.RawMessage(longest)}, ""},
		"before 1970":      {license.Job{DueAt: time.Unix(-1, 0)}, ""},
		"parked":           {license.Job{DueAt: at, ParkedAt: at}, ""},
		"never due":        {license.Job{}, "due_at"},
		"parked, no time":  {license.Job{ParkedAt: at}, "due_at"},
		"too long":         {license.Job{DueAt: at, Payload: json.RawMessage(longest + " ")}, "payload"},
		"not JSON":         {license.Job{DueAt: at, Payload: json.RawMessage("{")}, "payload"},
		"two values":       {license.Job{DueAt: at, Payload: json.RawMessage("1 2")}, "payload"},
		"nothing but room": {license.Job{DueAt: at, Payload: json.RawMessage(" ")}, "payload"},
	} {
		err := test.job.Check()
		var e *license.Error
		switch {
		case test.field == "":
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case !errors.As(err, &e) || e.Reason != license.BadRequest || e.Field != test.field:
			t.Errorf("%s: error is %v, want one for %s", name, err, test.field)
		}
	}
}

func TestJobState(t *testing.T) {
	var j license.Job
	if j.State() != license.JobWaiting {
		t.Errorf("a job that is not parked is %s", j.State())
	}
	j.ParkedAt = time.Unix(0, 0)
	if j.State() != license.JobParked {
		t.Errorf("a job that is parked is %s", j.State())
	}
	if !slices.Contains(license.JobStates(), license.JobWaiting) || !slices.Contains(license.JobStates(), license.JobParked) {
		t.Errorf("the states are %v", license.JobStates())
	}
}

func TestJobClone(t *testing.T) {
	j := license.Job{ID: "job_1", Payload: json.RawMessage(`{"a":1}`)}
	c := j.Clone()
	c.Payload[1] = 'X'
	if string(j.Payload) != `{"a":1}` || c.ID != j.ID {
		t.Errorf("the job is %+v, its copy %+v", j, c)
	}
}

// An order waits for somebody until it is completed or unsubscribed.
func TestStageOpen(t *testing.T) {
	var closed []license.Stage
	for _, s := range license.Stages() {
		if !s.Open() {
			closed = append(closed, s)
		}
	}
	if !slices.Equal(closed, []license.Stage{license.StageCompleted, license.StageCancelled}) {
		t.Errorf("closed are %v", closed)
	}
}
