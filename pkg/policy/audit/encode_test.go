package audit

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// What append writes is what encoding/json/v2 would, for every record there can be.
func TestAppendAgreesWithJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.Make[record]().Draw(t, "record")
		if len(r.Notes) == 0 {
			r.Notes = nil // an empty list is never recorded
		}
		if len(r.Shadow) == 0 {
			r.Shadow = nil
		}
		want, err := json.Marshal(r, jsontext.AllowInvalidUTF8(true))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.append(nil); string(got) != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// A field that append forgot would pass the test above only while it is zero in every draw.
func TestAppendKnowsEveryField(t *testing.T) {
	var r record
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Uint16:
			f.SetUint(1)
		default:
			f.SetInt(1)
		}
	}
	want, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.append(nil); string(got) != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
