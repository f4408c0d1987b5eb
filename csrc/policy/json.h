// JSON as a policy file holds it: parsed whole, nesting and size bounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sparseagent {

class Json {
 public:
  // Throws std::invalid_argument if `text` is no JSON in UTF-8, nests deeper than 64,
  // names a key of an object twice, or has a number that no double can hold.
  // sparseagent/fields.py reads the same language.
  static Json parse(std::string_view text);

  using Member = std::pair<std::string, Json>;

  bool is_null() const { return kind_ == Kind::null; }
  bool is_text() const { return kind_ == Kind::text; }

  // The value as what it must be; each throws std::invalid_argument with `what`, the
  // name of the value in the file, if it is something else. A whole number is one that
  // is written as such: 3.0 is none.
  const std::string& text(const char* what) const;
  double number(const char* what) const;
  std::int64_t whole(const char* what, std::int64_t low, std::int64_t high) const;
  bool truth(const char* what) const;
  const std::vector<Json>& items(const char* what) const;
  const std::vector<Member>& members(const char* what) const;

  // Member `key` of an object; null if there is none, or throws.
  const Json* find(const char* key) const;
  const Json& at(const char* key) const;

 private:
  friend class JsonParser;
  enum class Kind { null, truth, number, text, array, object };
  struct Parts;

  // Small, for lists of many numbers: what else there is lies elsewhere.
  Kind kind_ = Kind::null;
  bool truth_ = false;
  bool whole_ = false;  // a number without fraction and exponent
  double number_ = 0;
  std::shared_ptr<Parts> parts_;
};

struct Json::Parts {
  std::string text;
  std::vector<Json> items;
  std::vector<Member> members;
};

}  // namespace sparseagent
