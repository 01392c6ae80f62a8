package boltstore

import (
	"bytes"
	"errors"
	"fmt"
)

// jobs checks the jobs, and that each that waits has its turn.
func (c *checker) jobs() {
	for _, in := range []bucketID{bucketJobs, bucketJobsParked} {
		c.each(in, func(key, raw []byte) error {
			j, err := decodeJob(in, key, raw)
			switch {
			case err != nil:
				return err
			case j.ID != string(key):
				return fmt.Errorf("the record is that of %q", j.ID)
			case j.Revision < 1:
				return fmt.Errorf("its revision is %d", j.Revision)
			case bucketOf(j) != in:
				return fmt.Errorf("it is %s", j.State())
			case in == bucketJobsParked:
				if c.b.get(bucketJobs).Get(key) != nil {
					return errors.New("there is one that waits with the same id")
				}
				return nil
			}
			return c.turn(headOfJob(j).turn())
		})
	}
}

func (c *checker) turn(u turn) error {
	if u.key != "" {
		if !bytes.Equal(c.b.get(bucketJobsKeys).Get(u.place()), u.second()) {
			return errors.New("it has no place among the jobs of its key, or a wrong one")
		}
		if oldest, err := c.b.oldest(u.key); err != nil || oldest.id != u.id {
			return err
		}
	}
	if c.b.get(bucketJobsDue).Get(u.dueKey()) == nil {
		return errors.New("it never comes to its turn")
	}
	return nil
}

// turns checks that nothing has a turn but the jobs that wait.
func (c *checker) turns() {
	c.each(bucketJobsDue, func(key, _ []byte) error {
		due, id, err := splitDue(key)
		if err != nil {
			return err
		}
		h, err := c.waiting(id)
		switch {
		case err != nil:
			return err
		case h.DueAt.Unix() != due.Unix():
			return errors.New("the job is due at another time")
		case h.Key == "":
			return nil
		}
		oldest, err := c.b.oldest(h.Key)
		if err == nil && oldest.id != h.ID {
			return errors.New("it is not the oldest job of its key")
		}
		return err
	})
	c.each(bucketJobsKeys, func(key, _ []byte) error {
		of, id, _ := bytes.Cut(key, []byte{0})
		h, err := c.waiting(id)
		if err == nil && h.Key != string(of) {
			return errors.New("the job has another key")
		}
		return err
	})
}

func (c *checker) waiting(id []byte) (jobHead, error) {
	var h jobHead
	raw := c.b.get(bucketJobs).Get(id)
	if raw == nil {
		return h, fmt.Errorf("no job %q waits", id)
	}
	err := decode(bucketJobs, id, raw, &h)
	h.ID = string(id)
	return h, err
}
