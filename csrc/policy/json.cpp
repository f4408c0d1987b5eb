#include "policy/json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

namespace sparseagent {
namespace {

constexpr int kDeepest = 64;

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::uint32_t code, std::string* text) {
  const auto byte = [&](std::uint32_t b) { text->push_back(static_cast<char>(b)); };
  if (code < 0x80) return byte(code);
  if (code < 0x800) {
    byte(0xc0 | code >> 6);
  } else {
    if (code < 0x10000) {
      byte(0xe0 | code >> 12);
    } else {
      byte(0xf0 | code >> 18);
      byte(0x80 | (code >> 12 & 0x3f));
    }
    byte(0x80 | (code >> 6 & 0x3f));
  }
  byte(0x80 | (code & 0x3f));
}

// Bytes of the character at the start of `text`, or 0 if it is none in UTF-8: too long,
// half of a pair, beyond the last one, or cut off.
std::size_t utf8_size(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  const bool wrong =
      (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return wrong ? 0 : size;
}

void check_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = utf8_size(text);
    if (size == 0) refuse("JSON: expected UTF-8");
    text.remove_prefix(size);
  }
}

}  // namespace

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) { check_utf8(text); }

  Json whole() {
    Json value = read(0);
    skip_space();
    if (at_ != text_.size()) refuse("JSON: expected its end");
    return value;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }

  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  void expect(char c) {
    skip_space();
    if (peek() != c) refuse(std::string("JSON: expected '") + c + "'");
    ++at_;
  }

  Json read(int depth) {
    skip_space();
    Json value;
    if (depth > kDeepest && (peek() == '{' || peek() == '[')) {
      refuse("JSON: nested too deeply");
    }
    if (peek() == '{') return read_object(depth);
    if (peek() == '[') return read_array(depth);
    if (peek() == '"') {
      value.kind_ = Json::Kind::text;
      value.parts_ = std::make_shared<Json::Parts>();
      value.parts_->text = read_text();
    } else if (take("true") || take("false")) {
      value.kind_ = Json::Kind::truth;
      value.truth_ = text_[at_ - 2] == 'u';  // tr-u-e, fal-s-e
    } else if (!take("null")) {
      value.kind_ = Json::Kind::number;
      value.number_ = read_number(&value.whole_);
    }
    return value;
  }

  Json read_object(int depth) {
    Json value;
    value.kind_ = Json::Kind::object;
    value.parts_ = std::make_shared<Json::Parts>();
    expect('{');
    skip_space();
    if (peek() != '}') {
      do {
        skip_space();
        std::string key = read_text();
        expect(':');
        value.parts_->members.emplace_back(std::move(key), read(depth + 1));
        skip_space();
      } while (next_item());
    }
    expect('}');
    check_keys(value.parts_->members);
    return value;
  }

  Json read_array(int depth) {
    Json value;
    value.kind_ = Json::Kind::array;
    value.parts_ = std::make_shared<Json::Parts>();
    expect('[');
    skip_space();
    if (peek() != ']') {
      do {
        value.parts_->items.push_back(read(depth + 1));
        skip_space();
      } while (next_item());
    }
    expect(']');
    return value;
  }

  bool next_item() {
    if (peek() != ',') return false;
    ++at_;
    return true;
  }

  static void check_keys(const std::vector<Json::Member>& members) {
    std::vector<std::string_view> keys;
    for (const Json::Member& member : members) keys.push_back(member.first);
    std::sort(keys.begin(), keys.end());
    if (std::adjacent_find(keys.begin(), keys.end()) != keys.end()) {
      refuse("JSON: a key occurs twice");
    }
  }

  // The grammar's numbers alone; from_chars would also take "inf" and "1.".
  double read_number(bool* is_whole) {
    const std::size_t start = at_;
    const auto digits = [&] {
      if (!is_digit(peek())) refuse("JSON: expected a value");
      while (is_digit(peek())) ++at_;
    };
    if (peek() == '-') ++at_;
    if (peek() == '0') {
      ++at_;
    } else {
      digits();
    }
    if (peek() == '.') {
      ++at_;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    double value = 0;
    *is_whole = text_.substr(start, at_ - start).find_first_of(".eE") == text_.npos;
    const auto result =
        std::from_chars(text_.data() + start, text_.data() + at_, value);
    if (result.ec != std::errc() || !std::isfinite(value)) {
      refuse("JSON: a number is out of range");
    }
    return value;
  }

  std::string read_text() {
    if (peek() != '"') refuse("JSON: expected a string");
    ++at_;
    std::string text;
    for (;;) {
      if (at_ >= text_.size()) refuse("JSON: a string has no end");
      const char c = text_[at_++];
      if (c == '"') return text;
      if (static_cast<unsigned char>(c) < 0x20) refuse("JSON: a control character");
      if (c == '\\') {
        read_escape(&text);
      } else {
        text.push_back(c);
      }
    }
  }

  void read_escape(std::string* text) {
    static constexpr std::string_view kNames = "\"\\/bfnrt";
    static constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
    const char c = peek();
    ++at_;
    if (c == 'u') {
      std::uint32_t code = read_hex();
      if (code >= 0xd800 && code < 0xdc00 && take("\\u")) {
        const std::uint32_t low = read_hex();
        if (low < 0xdc00 || low >= 0xe000) refuse("JSON: half a character");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      }
      if (code >= 0xd800 && code < 0xe000) refuse("JSON: half a character");
      return append_utf8(code, text);
    }
    const std::size_t place = c == '\0' ? kNames.npos : kNames.find(c);
    if (place == kNames.npos) refuse("JSON: an unknown escape");
    text->push_back(kMeant[place]);
  }

  std::uint32_t read_hex() {
    std::uint32_t code = 0;
    if (at_ + 4 > text_.size()) refuse("JSON: a string has no end");
    const auto result =
        std::from_chars(text_.data() + at_, text_.data() + at_ + 4, code, 16);
    if (result.ptr != text_.data() + at_ + 4) refuse("JSON: expected four hex digits");
    at_ += 4;
    return code;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

Json Json::parse(std::string_view text) { return JsonParser(text).whole(); }

namespace {

[[noreturn]] void refuse_kind(const char* what, const char* kind) {
  refuse(std::string(what) + ": expected " + kind);
}

}  // namespace

const std::string& Json::text(const char* what) const {
  if (kind_ != Kind::text) refuse_kind(what, "a string");
  return parts_->text;
}

double Json::number(const char* what) const {
  if (kind_ != Kind::number) refuse_kind(what, "a number");
  return number_;
}

std::int64_t Json::whole(const char* what, std::int64_t low, std::int64_t high) const {
  const double value = number(what);
  if (!whole_ || value < static_cast<double>(low) ||
      value > static_cast<double>(high)) {
    refuse(std::string(what) + ": expected a whole number in [" + std::to_string(low) +
           ", " + std::to_string(high) + "]");
  }
  return static_cast<std::int64_t>(value);
}

bool Json::truth(const char* what) const {
  if (kind_ != Kind::truth) refuse_kind(what, "true or false");
  return truth_;
}

const std::vector<Json>& Json::items(const char* what) const {
  if (kind_ != Kind::array) refuse_kind(what, "a list");
  return parts_->items;
}

const std::vector<Json::Member>& Json::members(const char* what) const {
  if (kind_ != Kind::object) refuse_kind(what, "an object");
  return parts_->members;
}

const Json* Json::find(const char* key) const {
  if (kind_ != Kind::object) return nullptr;
  for (const Member& member : parts_->members) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

const Json& Json::at(const char* key) const {
  const Json* member = find(key);
  if (member == nullptr) refuse(std::string("expected '") + key + "'");
  return *member;
}

}  // namespace sparseagent
