"""What the documentation of redis-om shows of models, indexes and queries, against the node whose port is given."""

import datetime
import os
import sys

os.environ["REDIS_OM_URL"] = f"redis://127.0.0.1:{sys.argv[1]}?decode_responses=True"

from redis_om import EmbeddedJsonModel, Field, HashModel, JsonModel, Migrator, NotFoundError  # noqa: E402


class Customer(HashModel, index=True):
    first_name: str
    last_name: str = Field(index=True)
    email: str = Field(index=True)
    join_date: datetime.date
    age: int = Field(index=True, sortable=True)
    bio: str | None = Field(index=True, full_text_search=True, default="")


class Address(EmbeddedJsonModel, index=True):
    city: str = Field(index=True)
    postal_code: str = Field(index=True)


class Member(JsonModel, index=True):
    name: str = Field(index=True, full_text_search=True)
    age: int = Field(index=True, sortable=True)
    tags: list[str] = Field(index=True, default_factory=list)
    address: Address


def hashes():
    people = [("Andrew", "Brookins", 38, "Python developer, works at Redis"),
              ("Kim", "Brookins", 34, "Newly an investor"), ("Ada", "Lovelace", 36, "Wrote programs for the engine")]
    made = [Customer(first_name=first, last_name=last, email=f"{first}@example.com".lower(), age=age, bio=bio,
                     join_date=datetime.date(2020, 1, 2)).save() for first, last, age, bio in people]
    names = lambda query: sorted(customer.first_name for customer in query)  # noqa: E731
    assert Customer.get(made[0].pk) == made[0]
    assert names(Customer.find(Customer.last_name == "Brookins").all()) == ["Andrew", "Kim"]
    assert names(Customer.find(Customer.last_name != "Brookins").all()) == ["Ada"]
    assert names(Customer.find((Customer.last_name == "Brookins") | (Customer.age == 36)).all()) == ["Ada", "Andrew", "Kim"]
    assert names(Customer.find((Customer.age > 34) & (Customer.age <= 38)).all()) == ["Ada", "Andrew"]
    assert names(Customer.find(Customer.bio % "invest*").all()) == ["Kim"]
    assert names(Customer.find(Customer.email == "ada@example.com").all()) == ["Ada"]
    assert names(Customer.find(Customer.last_name << ["Lovelace", "Nobody"]).all()) == ["Ada"]
    ordered = Customer.find().sort_by("-age").all()
    assert [customer.age for customer in ordered] == [38, 36, 34]
    assert Customer.find().sort_by("age").first().age == 34
    assert Customer.find(Customer.last_name == "Brookins").count() == 2
    assert [customer.age for customer in Customer.find().sort_by("age").page(offset=1, limit=1)] == [36]
    made[2].update(last_name="King")
    assert names(Customer.find(Customer.last_name == "King").all()) == ["Ada"]
    Customer.delete(made[1].pk)
    assert names(Customer.find(Customer.last_name == "Brookins").all()) == ["Andrew"]
    try:
        Customer.get(made[1].pk)
    except NotFoundError:
        return
    raise AssertionError("a customer who was deleted is there")


def documents():
    cities = [("Ann", 25, "Portland", "97201", ["a", "b"]), ("Bob", 45, "San Antonio", "78201", ["b"]),
              ("Cid", 65, "Portland", "97202", [])]
    made = [Member(name=name, age=age, tags=tags, address=Address(city=city, postal_code=code)).save()
            for name, age, city, code, tags in cities]
    names = lambda query: sorted(member.name for member in query)  # noqa: E731
    assert Member.get(made[1].pk) == made[1]
    assert names(Member.find(Member.address.city == "Portland").all()) == ["Ann", "Cid"]
    assert names(Member.find(Member.address.city == "San Antonio").all()) == ["Bob"]
    assert names(Member.find((Member.address.postal_code == "97202") & (Member.age >= 65)).all()) == ["Cid"]
    assert names(Member.find(Member.tags << ["b"]).all()) == ["Ann", "Bob"]
    assert names(Member.find(Member.name % "bob").all()) == ["Bob"]
    assert [member.age for member in Member.find().sort_by("-age").all()] == [65, 45, 25]
    made[0].address.city = "Salem"
    made[0].save()
    assert names(Member.find(Member.address.city == "Salem").all()) == ["Ann"]
    Member.find(Member.address.city == "Portland").delete()
    assert names(Member.find().all()) == ["Ann", "Bob"]


Migrator().run()
hashes()
documents()
# What has not changed is not made again.
Migrator().run()
print("ok")
