package console

import "github.com/seed-357fa782/licensed/internal/adminwire"

// overviewData is what the first page shows.
type overviewData struct {
	Status adminwire.Status
}

// overview shows how things stand, and what somebody has to see to.
func (v *visit) overview() {
	st, err := v.api.Status(v.ctx())
	if err != nil {
		v.refuse(err)
		return
	}
	v.show("overview", "overview", overviewData{Status: st})
}
